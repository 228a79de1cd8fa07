module example.com/Some/mod
// a
