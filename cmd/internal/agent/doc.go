// Package agent does what a configuration of qsyncd describes. It is where
// snapshot and publish, which do not know each other, are joined.
//
// A [Publication] is one run on a channel, an [Agent] makes runs for as long as it
// lives, and an [Overview] says how both do. What they share with other processes lies
// in the state directory:
//
//	<channel>.run.lock        held while something is done to the channel's node or head
//	node.<hash>.lock          held while a node is: channels may share one; likewise
//	                          .guard by its guard, and .pause by its pause command
//	<channel>.snapshot.json   a run that may have left its node held, or a fork
//	<channel>.stamps.json     which files of the last version need not be read again
//	<channel>.finalized.json  the node's finalized block, and since when
//	qsyncd.agent.lock         held by the agent
//	runs.db                   what became of each run
package agent
