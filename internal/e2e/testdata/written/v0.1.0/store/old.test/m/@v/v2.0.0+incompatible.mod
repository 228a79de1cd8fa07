module old.test/m
// d
