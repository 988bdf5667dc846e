// Package agent does what a configuration of qsyncd describes. It is where
// snapshot and publish, which do not know each other, are joined.
//
// A [Publication] is one run on a channel, an [Agent] makes runs for as long as it
// lives, and an [Overview] says how both do.
//
// The agent is one loop that decides, with a job at a time for each channel. Beside it,
// so that nothing of it can hold up a run, work
//
//	lookout     asks nodes and targets every few minutes, for all that tell others of it
//	alarming    measures quotas, judges what was seen, and has mails accepted
//	probing     reads what is published as those who fetch do
//	scrubbing   looks whether what is published is still whole, and mends it
//	status page publishes how all of it does
//	web         answers at the address of listen
//	ipfsNode    is the node of IPFS
//
// each of which hears of a new configuration and works by that one from then on. What
// is shared with other processes lies in the state directory:
//
//	<channel>.run.lock        held while something is done to the channel's node or head
//	node.<hash>.lock          held while a node is: channels may share one; likewise
//	                          .guard by its guard, and .pause by its pause command
//	<channel>.snapshot.json   a run that may have left its node held, or a fork
//	<channel>.stamps.json     which files of the last version need not be read again
//	<channel>.finalized.json  the node's finalized block, and since when
//	qsyncd.agent.lock         held by the agent
//	probe/                    the newest heads that probes have seen
//	runs.db, probes.db, scrubs.db, changes.db   the records of package status
//	alarms.db                 mails that wait, what was told, and volumes
//	ipfs.json, ipfs.db, ipfs/ how the node of IPFS is reached, and what it remembers
//
// Package publish keeps its own there, and mirrors theirs.
package agent
