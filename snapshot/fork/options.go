package fork

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/snapshot"
)

// rewritten tells which files are written in place, so that a link does not
// freeze them: the mutable ones, and the appended ones of directories where
// the engine is set to recycle them or to write them through a mapping.
func (f *linkFork) rewritten(db *snapshot.Tree) (func(*snapshot.Entry) bool, error) {
	var appendOnly map[string]bool // by directory
	if want := db.Kind.AppendOnlyIf; want != nil {
		appendOnly = make(map[string]bool)
		for dir, p := range newestOptions(db) {
			file, err := f.from.Open(p)
			if err != nil {
				return nil, err
			}
			ok, err := optionsSay(file, want)
			file.Close()
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", p, err)
			}
			appendOnly[dir] = ok
		}
	}
	return func(e *snapshot.Entry) bool {
		switch e.Class {
		case database.Mutable:
			return true
		case database.Appended:
			return appendOnly != nil && !appendOnly[path.Dir(e.Path)]
		}
		return false
	}, nil
}

const optionsPrefix = "OPTIONS-"

// newestOptions has the path of the options file with the highest number for
// each directory that has one.
func newestOptions(db *snapshot.Tree) map[string]string {
	newest := make(map[string]string)
	number := make(map[string]uint64)
	for i := range db.Files {
		dir, name := path.Dir(db.Files[i].Path), path.Base(db.Files[i].Path)
		digits, ok := strings.CutPrefix(name, optionsPrefix)
		n, err := strconv.ParseUint(digits, 10, 64)
		if ok && err == nil && n >= number[dir] {
			newest[dir], number[dir] = db.Files[i].Path, n
		}
	}
	return newest
}

// maxOptions is far above the few hundred lines of a database with many
// column families.
const maxOptions = 4 << 20

// optionsSay reports whether an options file has all the settings. It reads the
// section of the database, not those of its tables and column families.
func optionsSay(file *os.File, want map[string]string) (bool, error) {
	agreed := 0
	section := ""
	lines := bufio.NewScanner(io.LimitReader(file, maxOptions))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		name, value, _ := strings.Cut(line, "=")
		if wanted, ok := want[strings.TrimSpace(name)]; ok && section == "[DBOptions]" {
			if strings.TrimSpace(value) != wanted {
				return false, nil
			}
			agreed++
		}
	}
	return agreed == len(want), lines.Err()
}
