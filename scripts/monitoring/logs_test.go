package monitoring_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// event is something that is logged, as LOGS.md has it.
type event struct {
	level  string
	fields []string // its own, sorted
}

// logged are the directories of what logs in qsyncd run, and in those it starts.
var logged = []string{"cmd/qsyncd", "cmd/internal/agent", "publish", "snapshot"}

// eventsInCode are those of the source, by their text, and the fields that loggers are
// given beforehand.
func eventsInCode(t *testing.T) (events map[string]event, before []string) {
	t.Helper()
	events = map[string]event{}
	given := map[string]bool{}
	for _, root := range logged {
		must(t, filepath.WalkDir(filepath.Join("../..", root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if strings.HasSuffix(path, "test") || d.Name() == "testdata" {
				return fs.SkipDir
			}
			packageEvents(t, path, events, given)
			return nil
		}))
	}
	return events, slices.Sorted(maps.Keys(given))
}

var levels = map[string]string{"Debug": "debug", "Info": "info", "Warn": "warn", "WarnContext": "warn", "Error": "error"}

// packageEvents adds those of a directory.
func packageEvents(t *testing.T, dir string, events map[string]event, given map[string]bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	must(t, err)
	var trees []*ast.File
	constants := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		must(t, err)
		trees = append(trees, tree)
		ast.Inspect(tree, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Names) == 1 && len(v.Values) == 1 {
				if text, ok := text(v.Values[0], nil); ok {
					constants[v.Names[0].Name] = text
				}
			}
			return true
		})
	}
	for _, tree := range trees {
		for _, decl := range tree.Decls {
			ast.Inspect(decl, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				method, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				args := call.Args
				if strings.HasSuffix(method.Sel.Name, "Context") && len(args) > 0 {
					args = args[1:]
				}
				level := levels[method.Sel.Name]
				switch {
				case method.Sel.Name == "With" && len(args) > 0:
					for _, f := range keys(args, decl) {
						given[f] = true
					}
				case level != "" && len(args) > 0:
					what, ok := text(args[0], constants)
					if !ok {
						return true // of something that is no log
					}
					fields := keys(args[1:], decl)
					slices.Sort(fields)
					is := event{level, slices.Compact(fields)}
					if was, twice := events[what]; twice && !slices.Equal(was.fields, is.fields) {
						t.Errorf("%q has the fields %v here and %v there", what, was.fields, is.fields)
					}
					events[what] = is
				}
				return true
			})
		}
	}
}

// text is a string that stands there, or as a constant.
func text(e ast.Expr, constants map[string]string) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil && e.Kind == token.STRING
	case *ast.Ident:
		s, ok := constants[e.Name]
		return s, ok
	}
	return "", false
}

// keys are the fields of a list of keys and values. What comes from because has an
// error, and may have a hint.
func keys(args []ast.Expr, within ast.Node) (all []string) {
	for i := 0; i < len(args); i++ {
		switch a := args[i].(type) {
		case *ast.BasicLit:
			if key, ok := text(a, nil); ok {
				all = append(all, key)
				i++ // its value
			}
		case *ast.CompositeLit: // []any{…}
			all = append(all, keys(a.Elts, within)...)
		case *ast.Ident: // a variable that has them
			ast.Inspect(within, func(n ast.Node) bool {
				if set, ok := n.(*ast.AssignStmt); ok && len(set.Lhs) == 1 && len(set.Rhs) == 1 {
					if name, ok := set.Lhs[0].(*ast.Ident); ok && name.Name == a.Name {
						if call, ok := set.Rhs[0].(*ast.CallExpr); !ok {
							all = append(all, keys(set.Rhs, within)...)
						} else if name, ok := call.Args[0].(*ast.Ident); ok && name.Name == a.Name {
							all = append(all, keys(call.Args[1:], within)...) // append to itself
						}
					}
				}
				return true
			})
		case *ast.CallExpr:
			switch name := types(a.Fun); name {
			case "because":
				all = append(all, "error", "hint")
			case "append":
				all = append(all, keys(a.Args, within)...)
			case "slog.Group":
				key, _ := text(a.Args[0], nil)
				all = append(all, key)
			}
		}
	}
	return all
}

// types is the name of what is called.
func types(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return types(e.X) + "." + e.Sel.Name
	}
	return ""
}

var (
	eventRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (\\w+) \\| ([^|]*) \\| [^|]+ \\|$")
	fieldRow = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| [^|]+ \\|$")
	code     = regexp.MustCompile("`([^`]+)`")
)

// logTable is LOGS.md.
type logTable struct {
	events map[string]event
	fields map[string]string // field → type
	common []string          // those that any line may have
}

func documented(t *testing.T) logTable {
	t.Helper()
	page, err := os.ReadFile("LOGS.md")
	must(t, err)
	_, rest, ok := strings.Cut(string(page), "\n## On any line\n")
	common, rest, ok2 := strings.Cut(rest, "\n## Fields of events\n")
	own, events, ok3 := strings.Cut(rest, "\n## Events\n")
	if !ok || !ok2 || !ok3 {
		t.Fatal("LOGS.md lacks a part")
	}
	table := logTable{events: map[string]event{}, fields: map[string]string{}}
	for _, m := range fieldRow.FindAllStringSubmatch(common, -1) {
		table.common = append(table.common, m[1])
	}
	for _, m := range fieldRow.FindAllStringSubmatch(common+own, -1) {
		if _, twice := table.fields[m[1]]; twice {
			t.Errorf("the field %s stands in LOGS.md twice", m[1])
		}
		table.fields[m[1]] = m[2]
	}
	for _, m := range eventRow.FindAllStringSubmatch(events, -1) {
		var own []string
		for _, f := range code.FindAllStringSubmatch(m[3], -1) {
			own = append(own, f[1])
		}
		slices.Sort(own)
		table.events[m[1]] = event{m[2], own}
	}
	return table
}

// TestLogTable compares LOGS.md with the source.
func TestLogTable(t *testing.T) {
	inCode, before := eventsInCode(t)
	table := documented(t)
	if len(inCode) < 40 {
		t.Errorf("only %d events in the code", len(inCode))
	}
	for _, what := range slices.Sorted(maps.Keys(inCode)) {
		is := inCode[what]
		if was, ok := table.events[what]; !ok || was.level != is.level || !slices.Equal(was.fields, is.fields) {
			var fields []string
			for _, f := range is.fields {
				fields = append(fields, "`"+f+"`")
			}
			t.Errorf("LOGS.md lacks, or has otherwise:\n| `%s` | %s | %s | … |", what, is.level, cmp.Or(strings.Join(fields, ", "), "—"))
		}
	}
	used := slices.Clone(table.common)
	for what, e := range table.events {
		if _, ok := inCode[what]; !ok {
			t.Errorf("LOGS.md has %q, and nothing logs it", what)
		}
		used = append(used, e.fields...)
	}
	for _, f := range used {
		if table.fields[f] == "" {
			t.Errorf("LOGS.md does not say what the field %s is", f)
		}
	}
	for f := range table.fields {
		if !slices.Contains(used, f) {
			t.Errorf("LOGS.md has the field %s, which no event has", f)
		}
	}
	for _, f := range before {
		if !slices.Contains(table.common, f) {
			t.Errorf("loggers are given %s beforehand, so that any line may have it: LOGS.md does not say so", f)
		}
	}
}

// checkLog checks lines of JSON: each has what its event is to have and nothing else, and
// those between the start and the end of a run have its number.
func checkLog(t *testing.T, log string) {
	t.Helper()
	table := documented(t)
	running := map[string]float64{} // channel → run
	seen := map[string]bool{}
	for line := range strings.Lines(log) {
		fields, err := unique(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		what, _ := fields["msg"].(string)
		is, known := table.events[what]
		if !known || strings.ToLower(fmt.Sprint(fields["level"])) != is.level {
			t.Errorf("it is not in LOGS.md, or with another level: %s", line)
			continue
		}
		seen[what] = true
		for f, v := range fields {
			if !slices.Contains(table.common, f) && !slices.Contains(is.fields, f) {
				t.Errorf("%s is no field of this event: %s", f, line)
			}
			if got := kind(v); got != table.fields[f] && (got != "time" || table.fields[f] != "text") {
				t.Errorf("%s is a %s, and is to be a %s: %s", f, got, table.fields[f], line)
			}
		}
		ch, _ := fields["channel"].(string)
		run, hasRun := fields["run"].(float64)
		if what == "run started" {
			running[ch] = run
		}
		if hasRun && (run < 1 || ch == "" || run != running[ch]) {
			t.Errorf("run %v while run %v of %q is under way: %s", run, running[ch], ch, line)
		}
		if inRun[what] && !hasRun {
			t.Errorf("it is of a run, and does not say of which: %s", line)
		}
	}
	for what := range inRun {
		if !seen[what] {
			t.Errorf("the log has no line %q", what)
		}
	}
}

// kind is the type of a value, as LOGS.md calls it.
func kind(v any) string {
	switch v := v.(type) {
	case string:
		if _, err := time.Parse(time.RFC3339, v); err == nil {
			return "time"
		}
		return "text"
	case float64:
		return "number"
	case []any:
		return "list"
	case map[string]any:
		return "object"
	}
	return fmt.Sprintf("%T", v)
}

// inRun are events of a run, from all the packages that have a part in one.
var inRun = map[string]bool{
	"run started": true, "files that are not part of the database are left out": true,
	"the database is forked and the node goes on": true, "the node goes on": true, "published": true, "dropped": true,
}

// unique parses an object, and refuses one that has a key twice.
func unique(line string) (map[string]any, error) {
	fields := map[string]any{}
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader([]byte(line)))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	n := 0
	for ; d.More(); n++ {
		var value json.RawMessage
		if _, err := d.Token(); err != nil {
			return nil, err
		}
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
	}
	if n != len(fields) {
		return nil, fmt.Errorf("a key is there twice")
	}
	return fields, nil
}
