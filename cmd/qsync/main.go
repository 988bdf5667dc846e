// qsync restores snapshots of a node's database.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/term"
)

func main() { os.Exit(term.Main(command())) }

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "qsync",
		Short: "Restore snapshots of a node's database",
	}
	root.AddCommand(fetchCommand(), listCommand(), inspectCommand(), verifyCommand(), seedCommand(), checkNodeCommand())
	return root
}
