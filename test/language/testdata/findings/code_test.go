package sample

import "testing"

func TestSubject_ConditionThatIsTooLong_ResultThatIsTooL(t *testing.T) {}

func FuzzSubject_ConditionThatIsTooLong_ResultThatIsTooL(f *testing.F) {}
