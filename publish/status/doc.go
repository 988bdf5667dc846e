// Package status keeps what an agent has done and seen, and tells it.
//
// What is on record:
//
//	[Runs]     each run, before it touches anything and again when it has ended; where
//	           schedules are counted from ([Anchor]); what runs add up to ([Totals])
//	[Probes]   how each channel does at each location, by day; times in which one was down
//	[Scrubs]   how far each pass over what is published has come; the damage it has found
//	[Changes]  new versions of the agent, and new configurations
//
// Each is one small database file in the state directory. It is opened for each operation
// and locked only for as long as that takes: one process writes while others read, and
// what was recorded is durable when the call returns. One that cannot be read any more is
// a [BrokenError].
//
// What is told is made of facts that the caller has gathered, and reads nothing itself: a
// [Page] for everybody, which holds nothing that only the inside knows, and a [Report] on
// a month for those who look after the service. Both have the same words, colors and bars.
package status
