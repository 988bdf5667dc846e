// qsyncd is the agent: it publishes snapshots of a node's database.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/term"
)

func main() { os.Exit(term.Main(command())) }

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "qsyncd",
		Short: "Publish snapshots of a running node's database",
	}
	root.AddCommand(runCommand(), statusCommand(), reportCommand(), ipfsCommand(), alarmCommand(), probeCommand())
	root.AddCommand(checkConfigCommand(), doctorCommand())
	root.AddCommand(keysCommand(), publishCommand(), pruneCommand(), scrubCommand(), exportCommand(), serveCommand(), cookiesCommand(), setupCommand(), guardCommand())
	return root
}
