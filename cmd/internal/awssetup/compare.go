package awssetup

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Difference is a setting that is not as it must be.
type Difference struct {
	Setting  string // as the API spells it: CacheBehaviors.Items[segments/*].Compress
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
		named := v.FieldByName("Items").IsValid() && nameField(v.FieldByName("Items")) != ""
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && (!named || f.Name != "Quantity") { // others may have added some
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
			name := cmp.Or(nameOf(v, i), strconv.Itoa(i))
			walk(fmt.Sprintf("%s[%s]", at, name), v.Index(i), settings)
		}
	case reflect.String:
		if text := v.String(); text != "" { // as an enumeration is that is not given
			settings[at] = text
		}
	case reflect.Bool, reflect.Int32, reflect.Int64:
		settings[at] = fmt.Sprint(v.Interface())
	}
}

// nameField is the field that the items of a list are told apart by, whatever their
// order: origins by Id, cache behaviors by PathPattern. It is empty for other lists.
func nameField(list reflect.Value) string {
	if item := list.Type().Elem(); item.Kind() == reflect.Struct {
		for _, name := range []string{"PathPattern", "Id"} {
			if f, ok := item.FieldByName(name); ok && f.Type == reflect.TypeFor[*string]() {
				return name
			}
		}
	}
	return ""
}

// nameOf is the name of an item, empty if it has none.
func nameOf(list reflect.Value, i int) string {
	if field := nameField(list); field != "" {
		return aws.ToString(list.Index(i).FieldByName(field).Interface().(*string))
	}
	return ""
}

// merge puts the items of a list over those of the same name, and keeps the others.
// What is missing comes first: the first behavior whose pattern fits counts.
func merge(into, from reflect.Value) {
	missing := reflect.MakeSlice(from.Type(), 0, from.Len())
	for i := range from.Len() {
		at := 0
		for at < into.Len() && nameOf(into, at) != nameOf(from, i) {
			at++
		}
		if at < into.Len() {
			overlay(into.Index(at), from.Index(i))
		} else {
			missing = reflect.Append(missing, from.Index(i))
		}
	}
	into.Set(reflect.AppendSlice(missing, into))
}

// overlay puts what from gives over what into has. Items with names are merged. Other
// lists of as many items are gone through item by item, so that what others have
// added to one stays; a list that tells its length is given, even if it is empty.
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
		length, items := from.FieldByName("Quantity"), from.FieldByName("Items")
		if items.IsValid() && nameField(items) != "" {
			merge(into.FieldByName("Items"), items)
			into.FieldByName("Quantity").Set(reflect.ValueOf(aws.Int32(int32(into.FieldByName("Items").Len()))))
			return
		}
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
