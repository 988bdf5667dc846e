package manifest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/qsync/qsync/manifest"
)

func TestParseVersionMeta(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       manifest.VersionMeta
		class      error
	}{
		{"whole", "size: 2098192\nlastBlock: 28412345\nversion: 20261122-040003\n",
			manifest.VersionMeta{Size: 2098192, LastBlock: 28412345, Version: "20261122-040003"}, nil},
		{"block not known", "size: 5\nversion: v\n", manifest.VersionMeta{Size: 5, LastBlock: -1, Version: "v"}, nil},
		{"other lines, other ends", "size:7\r\nbuilder: x\r\nlastBlock: 0\r\nversion: v", manifest.VersionMeta{Size: 7, Version: "v"}, nil},
		{"nothing", "", manifest.VersionMeta{Size: -1, LastBlock: -1}, nil},
		{"one is no number", "size: 1.1T\nlastBlock: 7\n", manifest.VersionMeta{Size: -1, LastBlock: 7}, manifest.ErrMalformed},
		{"below zero", "lastBlock: -5\nsize: 3", manifest.VersionMeta{Size: 3, LastBlock: -1}, manifest.ErrMalformed},
		{"above all", "size: 9223372036854775807\n", manifest.VersionMeta{Size: -1, LastBlock: -1}, manifest.ErrLimit},
		{"too long", strings.Repeat("x", manifest.MaxVersionMetaSize+1), manifest.VersionMeta{Size: -1, LastBlock: -1}, manifest.ErrLimit},
	} {
		got, err := manifest.ParseVersionMeta([]byte(test.text))
		if !errors.Is(err, test.class) || got != test.want {
			t.Errorf("%s: %+v, %v; want %+v, %v", test.name, got, err, test.want, test.class)
		}
	}
}
