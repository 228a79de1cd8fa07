module hidden.test/m
// b
