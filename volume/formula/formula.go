// Package formula reads and evaluates the expressions in which operators of Cinder say which volumes a pool takes and how
// good it is for them: filter_function and goodness_function.
//
//	vars := formula.Variables{"volume": {"size": 10}, "capabilities": {"free_capacity_gb": 35.5}}
//	f, err := formula.Parse("volume.size < 500 and capabilities.free_capacity_gb > 20", vars.Has)
//	ok, err := f.Holds(vars)
//
// The language is Cinder's (https://docs.openstack.org/cinder/latest/admin/driver-filter-weighing.html), with its order of
// operations, from those that bind most:
//
//   - the functions abs of one value, max and min of several
//   - powers, ^, from the right
//   - the signs + and -
//   - * and /, whose quotient of whole numbers need not be whole
//   - + and -
//   - not, or !
//   - <, <=, >, >=, ==, != and <>, where "a < b < c" is "a < b and b < c"
//   - the choice "c ? x : y", in which another choice, and, and or stand in parentheses
//   - and, or &&
//   - or, or ||
//
// They are over numbers (7, 0.5), texts in single or double quotes, true and false, and variables "scope.name". Texts that are
// numbers count as such, as the values of extra specs do; true counts as 1. Everything but 0 and the empty text holds.
//
// It differs from Cinder where that would surprise: "a and b and c" looks at all three, a word without quotes that is no
// known variable is a mistake, and mistakes are found by [Parse], before the first volume is wanted.
//
// It needs only the standard library, and a formula can do nothing but compute: it has neither loops nor effects, and its
// length and depth are bounded. Errors wrap [ErrSyntax] or [ErrValue] and say where or what. A [Formula] may be evaluated by
// several goroutines at once.
package formula

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

var (
	// ErrSyntax is wrapped by what is wrong with a text.
	ErrSyntax = errors.New("not a formula")
	// ErrValue is wrapped by what cannot be computed: a variable that is not there, a text in arithmetic, a division by zero.
	ErrValue = errors.New("no value")
)

// Variables are the values of "scope.name", by scope and name: numbers, texts and truths. What is nil is not there.
type Variables map[string]map[string]any

// Has says whether there is such a variable.
func (v Variables) Has(scope, name string) bool { return v[scope][name] != nil }

// Formula is an expression that was read.
type Formula struct {
	text string
	root node
}

// node computes a part: a float64, a string or a bool.
type node func(Variables) (any, error)

// String is the text that was read.
func (f *Formula) String() string { return f.text }

// Evaluate computes the formula: a float64, a string or a bool.
func (f *Formula) Evaluate(vars Variables) (any, error) {
	value, err := f.root(vars)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", f.text, err)
	}
	return value, nil
}

// Holds says whether the formula's value is true, a number other than 0, or a text that is not empty.
func (f *Formula) Holds(vars Variables) (bool, error) {
	value, err := f.Evaluate(vars)
	return err == nil && holds(value), err
}

func holds(value any) bool {
	switch v := value.(type) {
	case bool:
		return v
	case float64:
		return v != 0
	}
	return value != ""
}

func constant(value any) node {
	return func(Variables) (any, error) { return value, nil }
}

func variable(scope, name string) node {
	return func(vars Variables) (any, error) {
		value := vars[scope][name]
		if value == nil {
			return nil, fmt.Errorf("%w: there is no %s.%s", ErrValue, scope, name)
		}
		return plain(value), nil
	}
}

// plain is a variable's value as one of a formula's.
func plain(value any) any {
	switch v := value.(type) {
	case bool, float64:
		return v
	case int:
		return float64(v)
	case int64:
		return float64(v)
	}
	text := fmt.Sprint(value)
	if n, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err == nil && finite(n) == nil {
		return n
	}
	return text
}

func finite(n float64) error {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return fmt.Errorf("%w: the result is too large, or undefined", ErrValue)
	}
	return nil
}

// number is a value in arithmetic.
func number(value any) (float64, error) {
	switch v := value.(type) {
	case float64:
		return v, nil
	case bool:
		if v {
			return 1, nil
		}
		return 0, nil
	}
	return 0, fmt.Errorf("%w: %q is not a number", ErrValue, value)
}

// numbers computes parts that are to be numbers.
func numbers(vars Variables, parts []node) ([]float64, error) {
	all := make([]float64, len(parts))
	for i, part := range parts {
		value, err := part(vars)
		if err != nil {
			return nil, err
		}
		if all[i], err = number(value); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// arithmetic computes a number from others.
func arithmetic(of func(n []float64) (float64, error), parts ...node) node {
	return func(vars Variables) (any, error) {
		n, err := numbers(vars, parts)
		if err != nil {
			return nil, err
		}
		result, err := of(n)
		if err == nil {
			err = finite(result)
		}
		return result, err
	}
}

// operation computes with two numbers.
func operation(operator string) func(n []float64) (float64, error) {
	return func(n []float64) (float64, error) {
		switch operator {
		case "+":
			return n[0] + n[1], nil
		case "-":
			return n[0] - n[1], nil
		case "*":
			return n[0] * n[1], nil
		case "^":
			return math.Pow(n[0], n[1]), nil
		}
		if n[1] == 0 {
			return 0, fmt.Errorf("%w: %v is divided by zero", ErrValue, n[0])
		}
		return n[0] / n[1], nil
	}
}

// both computes two truths, and then one of them: as in Cinder, a mistake in either is one of the whole.
func both(and bool, left, right node) node {
	return func(vars Variables) (any, error) {
		a, err := left(vars)
		if err != nil {
			return nil, err
		}
		b, err := right(vars)
		if err != nil || holds(a) == and {
			return b, err
		}
		return a, nil
	}
}

func negation(of node) node {
	return func(vars Variables) (any, error) {
		value, err := of(vars)
		return err == nil && !holds(value), err
	}
}

// choice computes only the one that is chosen.
func choice(condition, yes, no node) node {
	return func(vars Variables) (any, error) {
		value, err := condition(vars)
		if err != nil {
			return nil, err
		}
		if holds(value) {
			return yes(vars)
		}
		return no(vars)
	}
}

// comparison compares each part with the next.
func comparison(operators []string, parts []node) node {
	return func(vars Variables) (any, error) {
		left, err := parts[0](vars)
		for i := 0; err == nil && i < len(operators); i++ {
			var right any
			if right, err = parts[i+1](vars); err != nil {
				break
			}
			var good bool
			if good, err = compare(left, operators[i], right); err != nil || !good {
				return false, err
			}
			left = right
		}
		return err == nil, err
	}
}

func compare(left any, operator string, right any) (bool, error) {
	a, isText := left.(string)
	b, areTexts := right.(string)
	if isText != areTexts {
		switch operator {
		case "==":
			return false, nil
		case "!=":
			return true, nil
		}
		return false, fmt.Errorf("%w: a text is neither less nor more than a number: %v %s %v", ErrValue, left, operator, right)
	}
	order := strings.Compare(a, b)
	if !isText {
		x, _ := number(left)
		y, _ := number(right)
		switch {
		case x < y:
			order = -1
		case x > y:
			order = 1
		}
	}
	switch operator {
	case "<":
		return order < 0, nil
	case "<=":
		return order <= 0, nil
	case ">":
		return order > 0, nil
	case ">=":
		return order >= 0, nil
	case "!=":
		return order != 0, nil
	}
	return order == 0, nil
}
