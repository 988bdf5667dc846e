package agent

import (
	"time"

	"github.com/qsync/qsync/publish/ipfs"
)

// What is known from the last look at nodes and targets.
var (
	metricLookSuccess = gauge("qsync_look_success", "Whether the agent could find out how its channels do when it looked last: every 5 minutes, and after each run.")
	metricLookTime    = gauge("qsync_look_timestamp_seconds", "When the agent looked last at nodes, heads and targets. What is told of them is from then.")
	metricTargetUp    = gauge("qsync_target_up", "Whether the target answered the agent.", "target")

	metricChannelProblems = gauge("qsync_channel_problems", "How many things are wrong with the channel, as qsyncd status tells them.", "channel")
	metricNodeHealthy     = gauge("qsync_node_healthy", "Whether the node is fit to be published from. Without rpc it is not known.", "channel")
	metricNodeHeight      = gauge("qsync_node_height", "The node's last finalized block.", "channel")
	metricNodePeers       = gauge("qsync_node_peers", "How many peers the node has.", "channel")
	metricHeadExpiry      = gauge("qsync_head_expiry_timestamp_seconds", "When the head expires, as it lies in the first target.", "channel")
	metricHeadSequence    = gauge("qsync_head_sequence", "The sequence of the head.", "channel")
	metricVersions        = gauge("qsync_versions", "How many versions the head names.", "channel")
)

func tellSight(tell sample, seen *sight) {
	tell(metricLookSuccess, truth(seen.err == nil))
	tell(metricLookTime, moment(seen.at))
	for _, t := range seen.targets {
		tell(metricTargetUp, truth(t.err == nil), t.name)
	}
	if seen.err != nil {
		return
	}
	for _, c := range seen.overview.Channels {
		tell(metricChannelProblems, float64(len(c.Problems)), c.Name)
		if c.Node.State != "unknown" {
			tell(metricNodeHealthy, truth(c.Node.State == "healthy"), c.Name)
		}
		if c.Node.Height > 0 { // it has answered
			tell(metricNodeHeight, float64(c.Node.Height), c.Name)
			tell(metricNodePeers, float64(c.Node.Peers), c.Name)
		}
		if h := c.Head; h != nil {
			tell(metricHeadExpiry, moment(h.Expires), c.Name)
			tell(metricHeadSequence, float64(h.Sequence), c.Name)
			tell(metricVersions, float64(h.Versions), c.Name)
		}
	}
}

// moment is a time as Prometheus has it.
func moment(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// What the node of IPFS knows of itself.
var (
	metricIpfsPeers   = gauge("qsync_ipfs_peers", "How many peers the agent's node of IPFS is connected to.")
	metricIpfsBlocks  = counter("qsync_ipfs_sent_blocks_total", "Blocks that the agent's node of IPFS has sent by bitswap since it was started.")
	metricIpfsBytes   = counter("qsync_ipfs_sent_bytes_total", "Bytes that the agent's node of IPFS has sent by bitswap since it was started.")
	metricIpfsDamaged = counter("qsync_ipfs_damaged_blocks_total", "Blocks that the agent's node of IPFS could not serve as they were published, since it was started.")
)

func tellIPFS(tell sample, s ipfs.Stats) {
	tell(metricIpfsPeers, float64(s.Peers))
	tell(metricIpfsBlocks, float64(s.BlocksSent))
	tell(metricIpfsBytes, float64(s.BytesSent))
	tell(metricIpfsDamaged, float64(s.Damaged))
}
