module example.com/Some/mod
// f
