package main

import (
	"testing"

	"github.com/qsync/qsync/cmd/internal/scripttest"
)

func TestMain(m *testing.M) {
	scripttest.Main(m, map[string]func(){"qsync": main}, "../qsyncd", "../../scripts/testnode")
}

func TestScripts(t *testing.T) { scripttest.Run(t) }
