package term

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// Main runs a command line and returns the exit code of the process.
func Main(root *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // so that a second signal finds no handler and kills

	limitMemory()
	root.Version = Version()
	root.SilenceErrors, root.SilenceUsage, root.DisableSuggestions = true, true, true
	root.PersistentFlags().Bool("json", false, "print one JSON object a line on standard output")
	started := false
	finish(root, &started)

	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	switch {
	case !started:
		err = &UsageError{Err: err}
	case ctx.Err() != nil:
		err = fmt.Errorf("%w: %w", errInterrupted, err)
	}
	NewOutput(cmd).fail(err)
	return ExitCode(err)
}

// finish adds the exit codes to the help of every command, and lets started
// tell a command line that was refused from a command that failed.
func finish(cmd *cobra.Command, started *bool) {
	for _, c := range cmd.Commands() {
		finish(c, started)
	}
	if cmd.Long == "" {
		cmd.Long = cmd.Short + "."
	}
	cmd.Long += "\n\n" + ExitCodes
	if cmd.HasSubCommands() && cmd.HasParent() {
		// For the root cobra says this by itself.
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return Usagef("unknown command %q for %q", args[0], cmd.CommandPath())
			}
			return cmd.Help()
		}
	}
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*started = true
			return run(cmd, args)
		}
	}
}

// Version is that of the program, as it was built.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// Must is for the wiring of flags, which cannot fail at run time.
func Must(err error) {
	if err != nil {
		panic(err)
	}
}
