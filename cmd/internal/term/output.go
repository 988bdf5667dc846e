package term

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// Output is where a command writes.
type Output struct {
	JSON bool

	program string
	mu      sync.Mutex
	stdout  io.Writer // results, or events
	stderr  io.Writer // everything else
	above   io.Writer // prints above a bar that is shown on stderr; nil without one
}

// NewOutput returns the output of a command.
func NewOutput(cmd *cobra.Command) *Output {
	asked, err := cmd.Flags().GetBool("json")
	return &Output{
		JSON:    err == nil && asked,
		program: cmd.Root().Name(),
		stdout:  cmd.OutOrStdout(),
		stderr:  cmd.ErrOrStderr(),
	}
}

// Result prints a line of the result to standard output.
func (o *Output) Result(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Fprintf(o.stdout, format+"\n", args...)
}

// Say prints a line to standard error.
func (o *Output) Say(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.stderr
	if o.above != nil {
		w = o.above
	}
	fmt.Fprintf(w, format+"\n", args...)
}

func (o *Output) printAbove(w io.Writer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.above = w
}

// Event prints a value as one line of JSON to standard output.
func (o *Output) Event(v any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	enc := json.NewEncoder(o.stdout)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		fmt.Fprintf(o.stderr, "%s: error: print an event: %s\n", o.program, err)
	}
}

type errorEvent struct {
	Event string `json:"event"`
	Code  int    `json:"code"`
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

// saidError is an error that whoever is to know it has been told of.
type saidError struct{ error }

func (e *saidError) Unwrap() error { return e.error }

// Said is an error that Main does not print any more. Its exit code stays.
func Said(err error) error { return &saidError{err} }

func (o *Output) fail(err error) {
	if said := (*saidError)(nil); errors.As(err, &said) {
		return
	}
	text, hint := strings.ReplaceAll(err.Error(), "\n", "; "), Hint(err)
	if o.JSON {
		o.Event(errorEvent{"error", ExitCode(err), text, hint})
		return
	}
	o.Say("%s: error: %s", o.program, text)
	if hint != "" {
		o.Say("%s: hint: %s", o.program, hint)
	}
}

// Log returns a logger of warnings to standard error.
func (o *Output) Log() *slog.Logger {
	return slog.New(&logLines{out: o})
}

func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
