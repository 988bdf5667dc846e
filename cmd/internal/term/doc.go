// Package term is how the two programs talk to whoever runs them: exit codes,
// errors and their hints, progress for eyes, logs and programs, and questions.
//
// Results go to standard output, everything said about the work to standard
// error. With --json standard output carries one event a line instead.
package term
