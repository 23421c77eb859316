// Package sample breaks rules: somebody has to.
package sample

import "fmt"

// Long wraps over lines, w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14
// w15 w16 w17 w18 w19 w20 w21 w22 w23 w24 w25 w26 w27 w28 w29 w30 w31 w32 w33 w34
// as one sentence.
func Long(name string) error {
	fmt.Println("the server " + name +
		" tells nobody")
	return fmt.Errorf("%s: %s", `the user, he
has gone`, name) // whose name it is
}
