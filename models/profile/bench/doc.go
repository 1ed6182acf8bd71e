// Package bench measures what a detector costs.
//
// It is for a process of its own: what the process grows by, and the processor
// time that it uses, are taken for the detector's.
package bench
