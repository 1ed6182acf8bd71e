// Package survey makes the view that package quality decides about out of what
// is known of a running workflow: where its sources and instances are, and what
// their work was measured to take.
//
// It is pure. The leader's loop and the simulator hand in what they know in the
// same form, so that the same view leads to the same decision.
//
// # What becomes of the workflow
//
// Frames of a source pass the groups of the workflow one after the other
// (Houmani et al., equation 1). A group's instances are one station of as many
// servers; but a group that runs beside the sources, as resize does, has one
// station for each instance, of which a source uses one. Instances that discovery
// never chooses, since others are nearer, are none. The way into a group is
// a station as well, whose service is what the transfer takes without the
// propagation; whether frames take it at all follows from where they come
// from. The analysis group has a task for each model and resolution; these are
// the options that a source has, up to the resolution that its document asks
// for: adaptation reduces, and gives back.
//
// What was not measured yet, since no frame came by, is taken from the profile
// of the detector on that node, if there is one. Otherwise it is estimated from the
// other resolutions of the same step: the work of a convolutional net, and the
// bytes of a picture, go with the number of pixels.
package survey
