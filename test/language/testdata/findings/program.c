// SPDX-License-Identifier: MIT
/*
 * A comment of somebody,
 * with a second line.
 */
static const char text[] = "a \" // who";
int a; // of whom
// This wraps, w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w18 w19 w20
// and goes on, w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w18 w19 w20.
