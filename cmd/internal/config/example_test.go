package config

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestExample: the example is accepted, and has all keys that there are.
func TestExample(t *testing.T) {
	const file = "qsyncd.yaml"
	if _, err := LoadAgent(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// One of two that cannot be there together.
	const other = "    # or ses: { region: eu-west-1 }\n"
	if !strings.Contains(string(text), other) {
		t.Errorf("%q is missing", other)
	}
	root := map[string]any{}
	if err := yaml.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	for _, key := range missing("", reflect.TypeFor[Agent](), []any{root}) {
		if key != ".alarms.mail.ses" {
			t.Errorf("%s is missing", key)
		}
	}
}

// missing are the keys of a type that none of some values has.
func missing(at string, of reflect.Type, values []any) (all []string) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct {
		return nil
	}
	for field := range of.Fields() {
		key := field.Tag.Get("yaml")
		if key == "" || key == "-" {
			continue
		}
		var below []any
		for _, v := range values {
			if m, ok := v.(map[string]any); ok {
				if v, ok = m[key]; !ok {
					continue
				}
				if list, ok := v.([]any); ok {
					below = append(below, list...)
				} else {
					below = append(below, v)
				}
			}
		}
		if len(below) == 0 {
			all = append(all, at+"."+key)
			continue
		}
		all = append(all, missing(at+"."+key, field.Type, below)...)
	}
	return all
}
