// Package sample breaks no rule: `who` is a code span.
//
//	nobody reads an example
//
// It has a list:
//   - an item without a full stop, w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w18 w19 w20
//   - the next item, w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w18 w19 w20
//
// After the list a sentence, w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w18 w19 w20
package sample

//go:generate who is generating this

import "fmt"

type server struct {
	// user is a literal of less than three words.
	user string `json:"user" help:"who the user is"`
	a    int    // w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w18 w19 w20
	b    int    // w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w18 w19 w20
}

func print(s server) {
	s.user = "nobody"
	fmt.Println("who whom")
	fmt.Println("the user is " + s.user + "; e.g. " + "root")
	fmt.Println(`a text of lines:

  ebpf-upgrader run --somebody

| a cell, w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w18 w19 w20 w21 w22 w23 w24 w25 w26 w27 w28 w29 w30 | another, w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w18 w19 w20 w21 w22 w23 w24 w25 w26 w27 w28 w29 w30 |`)
}
