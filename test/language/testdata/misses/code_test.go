package sample

import "testing"

func TestSubject_ConditionThatIsJustLong_ResultAndMoreX(t *testing.T) {}

func testedSubjectsAreNoTestsAndMayHaveNamesOfAnyLengthAtAll() {}

func TestingSubjectsIsNoTestEitherAndMayHaveANameOfAnyLength() {}
