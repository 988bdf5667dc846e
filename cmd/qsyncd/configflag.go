package main

import (
	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
)

const defaultConfigFile = "/etc/qsync/qsyncd.yaml"

func addConfigFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "config", "c", defaultConfigFile, "configuration `FILE`")
	term.Must(cmd.MarkFlagFilename("config", "yaml"))
}

// completeChannels completes the name of a configured channel.
func completeChannels(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	file, err := cmd.Flags().GetString("config")
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	agent, err := config.LoadAgent(file)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return agent.ChannelNames(), cobra.ShellCompDirectiveNoFileComp
}
