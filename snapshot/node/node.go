// Package node stops the program that writes a database, and lets it go on.
//
//	Systemd  a unit, frozen or stopped by the service manager
//	Docker   a container, paused or stopped by the engine
//	Freezer  a control group, frozen through the kernel's own file
//	Signal   SIGSTOP and SIGCONT to the process that a file names
//	Command  two configured commands
//	None     nothing: the database must not be open
//
// A process that is stopped, and not asked to close its database, leaves the
// files as a power cut would, except that nothing is lost: the fork sees every
// write that had returned. The engines recover from that when they open it. A
// node that keeps in memory what its database lacks must end cleanly: see [Stop].
//
// Each kind also has a Check, which says whether this process can hold the node,
// and leaves the node alone.
package node
