// Package workflow reads the workflow document: the YAML in which a user says
// where frames come from, what is to be done with them, and how well.
//
// [Parse] checks everything that can be known without the mesh (the models
// exist and offer those resolutions, the task graph has no cycle, every step
// is reached) and expands every choice of the document: one [tiering.Task] for
// each model and resolution. Each mistake is reported with its line and column
// and with what would be right. Whether the mesh has room is for
// [tiering.Schedule] to say.
//
// [Schema] is the same form for editors, as JSON Schema.
//
// The package is pure; the coordinator's API and the command line call it.
package workflow
