// Command testnode stands for a blockchain node in tests and demonstrations.
// It keeps a real pebble database open, appends linked blocks without pause,
// and can tell afterwards whether a copy of the directory is a database that a
// node would start on: complete, linked and unaltered up to its head.
//
// The directory rocksdb holds its twin for RocksDB, with the same commands.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"golang.org/x/time/rate"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "testnode: error:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{Use: "testnode", Short: "a stand-in for a node", SilenceErrors: true, SilenceUsage: true}
	directory := root.PersistentFlags().String("db", "", "directory of the database")
	_ = root.MarkPersistentFlagRequired("db") // fails only for a flag that does not exist

	var options runOptions
	run := &cobra.Command{
		Use: "run", Short: "append blocks until SIGTERM or SIGINT", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			node, err := openNode(*directory, create)
			if err != nil {
				return err
			}
			return closeNode(node, run(cmd.Context(), node, cmd.OutOrStdout(), options))
		},
	}
	run.Flags().StringVar(&options.pidFile, "pid-file", "", "file that holds the process id from the first block on")
	run.Flags().IntVar(&options.bytesPerSecond, "rate", 8<<20, "bytes to write per second, 0: no limit")
	run.Flags().Uint64Var(&options.blocks, "blocks", 0, "end after so many more blocks, 0: go on")

	readOnly := false
	check := &cobra.Command{
		Use: "check", Short: "recover, verify every block and record, print the head", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			mode := existing
			if readOnly {
				mode = unchanged
			}
			node, err := openNode(*directory, mode)
			if err != nil {
				return err
			}
			if err := closeNode(node, node.check()); err != nil {
				return fmt.Errorf("check %s: %w", *directory, err)
			}
			return printHead(cmd.OutOrStdout(), node.head)
		},
	}
	check.Flags().BoolVar(&readOnly, "read-only", false, "replay the log in memory and change no file")

	percent := 0.0
	mutate := &cobra.Command{
		Use: "mutate", Short: "give a share of the state's records new values", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			node, err := openNode(*directory, existing)
			if err != nil {
				return err
			}
			if err := closeNode(node, node.mutate(percent)); err != nil {
				return err
			}
			return printHead(cmd.OutOrStdout(), node.head)
		},
	}
	mutate.Flags().Float64Var(&percent, "percent", 5, "share of the records")

	root.AddCommand(run, check, mutate)
	return root
}

type runOptions struct {
	pidFile        string
	bytesPerSecond int
	blocks         uint64
}

// run appends blocks until the context ends or there are enough of them.
func run(ctx context.Context, node *node, out io.Writer, options runOptions) error {
	const burst = 1 << 20 // far more than one block, so that WaitN never refuses
	pace := rate.NewLimiter(rate.Inf, burst)
	if options.bytesPerSecond > 0 {
		pace.SetLimit(rate.Limit(options.bytesPerSecond))
	}
	until := node.head.Height + options.blocks
	said := time.Now()
	for first := true; ctx.Err() == nil; first = false {
		size, err := node.appendBlock()
		if err != nil {
			return err
		}
		if first && options.pidFile != "" {
			// Whoever waits for the file may read it the moment it appears.
			if err := renameio.WriteFile(options.pidFile, strconv.AppendInt(nil, int64(os.Getpid()), 10), 0o644); err != nil {
				return fmt.Errorf("write pid file: %w", err)
			}
			defer os.Remove(options.pidFile)
		}
		if time.Since(said) >= time.Second {
			if err := printHead(out, node.head); err != nil {
				return err
			}
			said = time.Now()
		}
		if options.blocks > 0 && node.head.Height == until {
			break
		}
		if pace.WaitN(ctx, size) != nil {
			break // told to stop
		}
	}
	return printHead(out, node.head)
}

func printHead(out io.Writer, head head) error {
	return json.NewEncoder(out).Encode(struct {
		Height uint64 `json:"height"`
		Hash   hash   `json:"hash"`
	}{head.Height, head.Hash})
}

// closeNode closes the database whatever became of the work in it.
func closeNode(node *node, err error) error {
	if closeErr := node.close(); err == nil {
		return closeErr
	}
	return err
}
