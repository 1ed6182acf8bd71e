package yamlfile

import (
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

func isMapping(n ast.Node) bool {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

func isScalar(n ast.Node) bool {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return true
	}
	return false
}

// isNull reports whether a value is missing: the parser's null, or a node that
// no value can be had from.
func isNull(n ast.Node) bool { return n == nil || !isMapping(n) && !isScalar(n) && !isList(n) }

func isList(n ast.Node) bool {
	_, ok := n.(*ast.SequenceNode)
	return ok
}

// isText reports whether a scalar is text, not a number or a boolean.
func isText(n ast.Node) bool {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return true
	}
	return false
}

// isQuoted reports whether a scalar was written as text on purpose.
func isQuoted(n ast.Node) bool {
	if _, ok := n.(*ast.LiteralNode); ok {
		return true
	}
	t := n.GetToken().Type
	return t == token.SingleQuoteType || t == token.DoubleQuoteType
}

// textOf returns a scalar as it is written, without quotes.
func textOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	}
	return n.GetToken().Value
}

// pairs returns a mapping's keys and values.
func pairs(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// keyOf returns the key's text; false if it is a list or a mapping.
func keyOf(pair *ast.MappingValueNode) (string, bool) {
	if s, ok := pair.Key.(*ast.StringNode); ok {
		return s.Value, true
	}
	if _, ok := pair.Key.(ast.ScalarNode); !ok {
		return "", false
	}
	return pair.Key.GetToken().Value, true
}

// describe says in words what a node is.
func describe(n ast.Node) string {
	const most = 40
	switch {
	case isMapping(n):
		return "a mapping"
	case isList(n):
		return "a list"
	case !isScalar(n):
		return "nothing"
	}
	text := []rune(textOf(n))
	if len(text) > most {
		text = append(text[:most], '…')
	}
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "the text " + strconv.Quote(string(text))
	case *ast.BoolNode:
		return string(text)
	}
	return "the number " + string(text)
}
