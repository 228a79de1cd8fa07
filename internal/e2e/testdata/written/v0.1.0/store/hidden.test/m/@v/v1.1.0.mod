module hidden.test/m
// c
