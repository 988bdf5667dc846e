package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Error is a fault in a configuration file.
type Error struct {
	File string
	Line int
	Key  string // as written from the top of the file: channels[0].keep.versions
	What string
	Help string // what to do about it; may be empty
}

func (e *Error) Error() string {
	where := fmt.Sprintf("%s:%d", e.File, e.Line)
	if e.Key == "" {
		return where + ": " + e.What
	}
	return where + ": " + e.Key + ": " + e.What
}

// Hint says what to do about it.
func (e *Error) Hint() string { return e.Help }

// document is a parsed file that still knows the line of each key.
type document struct {
	file  string
	sum   string // SHA-256 of the file, in hex
	root  *yaml.Node
	lines map[string]int // by key as in [Error.Key]
}

// load reads the YAML file into v, a pointer to a struct. A key that the struct
// does not have, a key given twice, a value of another type and a key without a
// value are errors: a misspelt key must not become a silent default.
func load(file string, v any) (*document, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	d := &document{file: file, root: &yaml.Node{}, lines: map[string]int{"": 1}}
	sum := sha256.New()
	dec := yaml.NewDecoder(io.TeeReader(f, sum))
	switch err := dec.Decode(d.root); {
	case errors.Is(err, io.EOF):
		return nil, d.fault("", "", "the file is empty")
	case err != nil:
		return nil, fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, d.fault("", "", "there is a second document behind the first")
	}
	d.sum = hex.EncodeToString(sum.Sum(nil))
	if err := d.check(d.root.Content[0], reflect.TypeOf(v).Elem(), ""); err != nil {
		return nil, err
	}
	return d, d.root.Decode(v)
}

// fault is an error at a key, or at the nearest key above it that the file has.
func (d *document) fault(key, help, format string, args ...any) error {
	line, at := 0, key
	for line == 0 {
		line = d.lines[at]
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	return &Error{File: d.file, Line: line, Key: key, What: fmt.Sprintf(format, args...), Help: help}
}

// has reports whether the file has a key.
func (d *document) has(key string) bool { return d.lines[key] > 0 }

var unmarshaler = reflect.TypeFor[yaml.Unmarshaler]()

// check compares a node with the type that is to hold it.
func (d *document) check(n *yaml.Node, t reflect.Type, key string) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if _, known := d.lines[key]; !known {
		d.lines[key] = n.Line
	}
	if n.Tag == "!!null" {
		return d.fault(key, "give it a value, or remove the key", "has no value")
	}
	switch {
	case t.Kind() == reflect.Struct && n.Kind == yaml.MappingNode: // also one that can be a single word
		return d.mapping(n, t, key)
	case reflect.PointerTo(t).Implements(unmarshaler):
		return d.scalar(n, t, key)
	case t.Kind() == reflect.Pointer:
		return d.check(n, t.Elem(), key)
	case t.Kind() == reflect.Struct:
		return d.mapping(n, t, key)
	case t.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			return d.fault(key, "", "want a list")
		}
		for i, item := range n.Content {
			if err := d.check(item, t.Elem(), fmt.Sprintf("%s[%d]", key, i)); err != nil {
				return err
			}
		}
		return nil
	}
	return d.scalar(n, t, key)
}

func (d *document) mapping(n *yaml.Node, t reflect.Type, key string) error {
	fields, names := map[string]reflect.Type{}, []string{}
	for f := range t.Fields() {
		if name := f.Tag.Get("yaml"); name != "" && name != "-" {
			fields[name], names = f.Type, append(names, name)
		}
	}
	help := "known here: " + strings.Join(names, ", ")
	if len(names) == 0 {
		help = "write {}"
	}
	if n.Kind != yaml.MappingNode {
		return d.fault(key, help, "want a mapping of keys to values")
	}
	for i := 0; i < len(n.Content); i += 2 {
		name := n.Content[i].Value
		at := strings.TrimPrefix(key+"."+name, ".")
		if _, twice := d.lines[at]; twice {
			return d.fault(at, "", "given twice, again in line %d", n.Content[i].Line)
		}
		d.lines[at] = n.Content[i].Line
		ft, known := fields[name]
		if !known {
			return d.fault(at, help, "unknown key")
		}
		if err := d.check(n.Content[i+1], ft, at); err != nil {
			return err
		}
	}
	return nil
}

var errFraction = errors.New("not a whole number")

var wanted = map[reflect.Kind]string{
	reflect.String: "text", reflect.Int: "a whole number", reflect.Int64: "a whole number", reflect.Bool: "true or false",
}

func (d *document) scalar(n *yaml.Node, t reflect.Type, key string) error {
	err := n.Decode(reflect.New(t).Interface())
	if (t.Kind() == reflect.Int || t.Kind() == reflect.Int64) && n.ShortTag() == "!!float" {
		err = errFraction // which the decoder would cut off
	}
	if err == nil {
		return nil
	}
	if want := wanted[t.Kind()]; want != "" && !reflect.PointerTo(t).Implements(unmarshaler) {
		return d.fault(key, "", "%s: want %s", describe(n), want)
	}
	return d.fault(key, "", "%s: %s", describe(n), err)
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("%.80q", n.Value)
}

// decodeOrOff decodes a mapping, or takes note of the word off in its place.
func decodeOrOff(n *yaml.Node, mapping any, off *bool, wrong error) error {
	if n.Kind == yaml.MappingNode {
		return n.Decode(mapping)
	}
	if n.Value != "off" {
		return wrong
	}
	*off = true
	return nil
}
