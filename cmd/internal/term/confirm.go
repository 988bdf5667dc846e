package term

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// Confirm asks on the terminal whether to go on in spite of what stopped the
// run. Without a terminal, or without a yes, it returns that error.
func (o *Output) Confirm(stopped error, question string) error {
	if !isTerminal(os.Stdin) {
		return stopped
	}
	o.Say("%s: %s", o.program, stopped)
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Fprintf(o.stderr, "%s [y/N] ", question)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return fmt.Errorf("%w; read the answer: %w", stopped, err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return stopped
}
