// Package experiment turns recordings of a scenario into a result folder, and
// compares such folders.
//
// A [Recorder] makes the folder when a run starts and appends to its tables as
// samples come, so that a crash or a full disk keeps what there is; Finish adds
// what needs the whole run. [Write] does both for recordings that are complete.
// The folder holds
//
//	scenario.yaml             as it was run
//	emulated-1/, simulated-1/ one folder for each run:
//	  series.csv              frames and latency, a row for each sample
//	  stages.csv, nodes.csv   a row for each task or node of each sample
//	  events.csv              the timeline and the coordinator's decisions
//	  links.csv               checks of links, of an emulation
//	costs.yaml, costs.json    what [ReadCosts] reads, for a simulation
//	summary.json              a [Summary], which [Read] reads
//	plots/                    each as PNG and as SVG
//	report.md                 all of it for people
//
// Times are seconds from the end of the warm-up. Those before it are negative;
// the warm-up is in the raw tables and, shaded, in the plots, but in no figure.
//
// Figures of repeated runs are means with a 95 % confidence interval from
// Student's t distribution; how recovery after an event is measured is said at
// [Recovery].
//
// [Arms] makes of one scenario a run with each distribution of qualities, and
// with each rule that adapts them; [WriteArms] sets them beside each other in
// table.md, raw.csv, plot.png and a summary.json of their own ([ArmsSummary]).
//
// [StudyJobs], [RunStudy] and [WriteStudy] do the same for a study (package
// testbed/study): several scenarios, by both methods, beside what was published.
//
// The package reads no clock and draws no random numbers: the same result is
// the same folder, byte for byte. cmd/weft and testbed/experiment/... may
// import it.
package experiment
