package awssetup

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Difference is a setting that is not as it must be.
type Difference struct {
	Setting  string // as the API spells it: CacheBehaviors.Items[0].Compress
	Is, Want string
}

// compare returns the settings of want that is does not have. Both are inputs or
// outputs of the API; what want leaves open is not looked at.
func compare(want, is any) []Difference {
	return compareSettings(flatten(want), flatten(is))
}

func compareSettings(wanted, present map[string]string) []Difference {
	var all []Difference
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		if present[key] != wanted[key] {
			all = append(all, Difference{key, present[key], wanted[key]})
		}
	}
	return all
}

// flatten lists the settings of a value of the API that are given. The order of
// plain words means nothing to Amazon, and is another in its answers.
func flatten(v any) map[string]string {
	settings := map[string]string{}
	walk("", reflect.ValueOf(v), settings)
	return settings
}

func walk(at string, v reflect.Value, settings map[string]string) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		if walk(at, v.Elem(), settings); v.Elem().Kind() == reflect.String {
			settings[at] = strings.TrimSpace(v.Elem().String()) // an empty one is given
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				walk(strings.TrimPrefix(at+"."+f.Name, "."), v.Field(i), settings)
			}
		}
	case reflect.Slice:
		if v.Len() > 0 && v.Index(0).Kind() == reflect.String {
			var words []string
			for i := range v.Len() {
				words = append(words, v.Index(i).String())
			}
			slices.Sort(words)
			settings[at] = strings.Join(words, ", ")
			return
		}
		for i := range v.Len() {
			walk(fmt.Sprintf("%s[%d]", at, i), v.Index(i), settings)
		}
	case reflect.String:
		if text := v.String(); text != "" { // as an enumeration is that is not given
			settings[at] = text
		}
	case reflect.Bool, reflect.Int32, reflect.Int64:
		settings[at] = fmt.Sprint(v.Interface())
	}
}

// overlay puts what from gives over what into has. Lists of as many items are gone
// through item by item, so that what others have added to one stays; a list that
// tells its length is given, even if it is empty.
func overlay(into, from reflect.Value) {
	switch from.Kind() {
	case reflect.Pointer:
		if from.IsNil() {
			return
		}
		if into.IsNil() {
			into.Set(reflect.New(into.Type().Elem()))
		}
		if overlay(into.Elem(), from.Elem()); from.Elem().Kind() == reflect.String {
			into.Elem().Set(from.Elem())
		}
	case reflect.Struct:
		length := from.FieldByName("Quantity")
		for i := range from.NumField() {
			switch f := from.Type().Field(i); {
			case f.Name == "Items" && length.IsValid() && !length.IsNil() && from.Field(i).Len() == 0:
				into.Field(i).SetZero()
			case f.IsExported():
				overlay(into.Field(i), from.Field(i))
			}
		}
	case reflect.Slice:
		if from.Len() > 0 && from.Index(0).Kind() == reflect.Struct && from.Len() == into.Len() {
			for i := range from.Len() {
				overlay(into.Index(i), from.Index(i))
			}
		} else if from.Len() > 0 {
			into.Set(from)
		}
	case reflect.String:
		if from.Len() > 0 {
			into.Set(from)
		}
	default:
		into.Set(from)
	}
}
