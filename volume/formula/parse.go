package formula

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxLength is how long a formula may be, in bytes.
	maxLength = 4096
	// maxDepth is how many parentheses, signs, negations and powers may be inside each other.
	maxDepth = 100
)

// Parse reads a formula. A text that is none, or has a variable that is not known, is [ErrSyntax].
func Parse(text string, known func(scope, name string) bool) (*Formula, error) {
	if len(text) > maxLength {
		return nil, fmt.Errorf("%w: %d bytes are more than %d", ErrSyntax, len(text), maxLength)
	}
	p := &parser{text: text, known: known}
	p.advance()
	root := p.or()
	if p.err == nil && p.token != "" {
		p.failf("%q is not expected there: put what belongs together in parentheses", p.token)
	}
	if p.err != nil {
		return nil, fmt.Errorf("%q: %w", text, p.err)
	}
	return &Formula{text: text, root: root}, nil
}

// parser reads with one function for each rank of operations. After the first mistake it sees the end of the text.
type parser struct {
	text  string
	known func(scope, name string) bool
	err   error

	at, next int    // where the token begins, and where the rest does
	token    string // empty at the end
	depth    int
}

func (p *parser) failf(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: at character %d: "+format, append([]any{ErrSyntax, p.at + 1}, args...)...)
	}
	p.token, p.next = "", len(p.text)
}

// advance reads the next token.
func (p *parser) advance() {
	rest := strings.TrimLeft(p.text[p.next:], " \t\r\n")
	p.at = len(p.text) - len(rest)
	n := tokenLength(rest)
	p.token, p.next = rest[:n], p.at+n
	if n == 0 && rest != "" {
		p.failf("%.10q is not understood", rest)
	}
}

// tokenLength is how much of a text is its first token; 0 for none.
func tokenLength(text string) int {
	if text == "" {
		return 0
	}
	switch c := text[0]; {
	case c == '"' || c == '\'':
		if end := strings.IndexByte(text[1:], c); end >= 0 {
			return end + len(`""`)
		}
		return 0
	case isDigit(c):
		return span(text, func(c byte) bool { return isDigit(c) || c == '.' })
	case isLetter(c):
		return span(text, func(c byte) bool { return isLetter(c) || isDigit(c) || c == '.' })
	}
	for _, operator := range []string{
		"<=", ">=", "==", "!=", "<>", "&&", "||",
		"+", "-", "*", "/", "^", "<", ">", "!", "?", ":", "(", ")", ",",
	} {
		if strings.HasPrefix(text, operator) {
			return len(operator)
		}
	}
	return 0
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// span is how many of a text's first bytes are good.
func span(text string, good func(byte) bool) int {
	for i := range len(text) {
		if !good(text[i]) {
			return i
		}
	}
	return len(text)
}

// take goes on after one of the tokens, if it is there.
func (p *parser) take(tokens ...string) (token string, ok bool) {
	token = strings.ToLower(p.token)
	if token == "" || !slices.Contains(tokens, token) {
		return "", false
	}
	p.advance()
	return token, true
}

func (p *parser) expect(token string) {
	if _, ok := p.take(token); !ok && p.err == nil {
		p.failf("%q is expected, not %q", token, p.token)
	}
}

// deeper reads what is inside of something, unless that is too deep.
func (p *parser) deeper(read func() node) node {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth {
		p.failf("more than %d levels", maxDepth)
		return constant(false)
	}
	return read()
}

func (p *parser) or() node {
	left := p.and()
	for {
		if _, ok := p.take("or", "||"); !ok {
			return left
		}
		left = both(false, left, p.and())
	}
}

func (p *parser) and() node {
	left := p.choice()
	for {
		if _, ok := p.take("and", "&&"); !ok {
			return left
		}
		left = both(true, left, p.choice())
	}
}

func (p *parser) choice() node {
	condition := p.comparison()
	if _, ok := p.take("?"); !ok {
		return condition
	}
	yes := p.comparison()
	p.expect(":")
	return choice(condition, yes, p.comparison())
}

func (p *parser) comparison() node {
	parts := []node{p.not()}
	var operators []string
	for {
		operator, ok := p.take("<", "<=", ">", ">=", "==", "!=", "<>")
		if !ok {
			break
		}
		if operator == "<>" {
			operator = "!="
		}
		operators, parts = append(operators, operator), append(parts, p.not())
	}
	if len(operators) == 0 {
		return parts[0]
	}
	return comparison(operators, parts)
}

func (p *parser) not() node {
	if _, ok := p.take("not", "!"); ok {
		return negation(p.deeper(p.not))
	}
	return p.sum()
}

func (p *parser) sum() node { return p.operations(p.product, "+", "-") }

func (p *parser) product() node { return p.operations(p.signed, "*", "/") }

// operations reads operations of one rank, from the left.
func (p *parser) operations(part func() node, operators ...string) node {
	left := part()
	for {
		operator, ok := p.take(operators...)
		if !ok {
			return left
		}
		left = arithmetic(operation(operator), left, part())
	}
}

func (p *parser) signed() node {
	sign, ok := p.take("+", "-")
	if !ok {
		return p.power()
	}
	return arithmetic(func(n []float64) (float64, error) {
		if sign == "-" {
			return -n[0], nil
		}
		return n[0], nil
	}, p.deeper(p.signed))
}

func (p *parser) power() node {
	base := p.operand()
	if _, ok := p.take("^"); !ok {
		return base
	}
	return arithmetic(operation("^"), base, p.deeper(p.power))
}

func (p *parser) operand() node {
	token := p.token
	switch {
	case token == "":
		p.failf("something is missing at the end")
	case token == "(":
		p.advance()
		inside := p.deeper(p.or)
		p.expect(")")
		return inside
	case token[0] == '"' || token[0] == '\'':
		p.advance()
		return constant(plain(token[1 : len(token)-1]))
	case isDigit(token[0]):
		n, err := strconv.ParseFloat(token, 64)
		if err != nil || strings.HasSuffix(token, ".") {
			p.failf("%q is not a number", token)
		}
		p.advance()
		return constant(n)
	case isLetter(token[0]):
		return p.word()
	default:
		p.failf("%q is not expected there", token)
	}
	return constant(false)
}

// word reads a variable, a function, true or false.
func (p *parser) word() node {
	word := p.token
	scope, name, scoped := strings.Cut(word, ".")
	lower := strings.ToLower(word)
	switch {
	case scoped && p.known(scope, name):
		p.advance()
		return variable(scope, name)
	case lower == "true" || lower == "false":
		p.advance()
		return constant(lower == "true")
	case slices.Contains([]string{"abs", "max", "min"}, lower):
		p.advance()
		return p.call(lower)
	}
	p.failf("there is no %q; texts are in quotes", word)
	return constant(false)
}

func (p *parser) call(function string) node {
	p.expect("(")
	var arguments []node
	for {
		arguments = append(arguments, p.deeper(p.or))
		if _, more := p.take(","); !more {
			break
		}
	}
	p.expect(")")
	if n := len(arguments); p.err == nil && (function == "abs") != (n == 1) {
		p.failf("%s of %d values", function, n)
	}
	return arithmetic(func(n []float64) (float64, error) {
		switch function {
		case "max":
			return slices.Max(n), nil
		case "min":
			return slices.Min(n), nil
		}
		return math.Abs(n[0]), nil
	}, arguments...)
}
