// Package quality decides at which quality each source's frames are analysed:
// the decision core of Houmani et al., "Enabling microservices management for
// Deep Learning applications across the Edge-Cloud Continuum" (SBAC-PAD 2021),
// sections IV and V.
//
// A [Quality] is a model, a resolution and a frame rate. The paper's knob is
// the resolution; the others are the same thing to everything below, and each
// can be switched off ([Knobs]).
//
//   - latency: equations 1 to 3. A [Path] is what a frame passes, and a
//     [Station] anything that frames queue for, an executor or a link: latency
//     depends on load. [Corrections] holds the model against measured spans.
//   - accuracy: equation 4. [Fit] fits a [Curve] to measured F1.
//   - utility: equations 5 and 6. [Debt] is what makes the accuracy constraint
//     a long-run one.
//   - the choice among distributions: [RuleFastest] is Algorithm 1,
//     [RuleUtility] maximises equation 5 with the debt's price on accuracy. Both
//     are found without enumeration (search.go), and tested against enumeration.
//   - [Decide] puts it together: admission, hysteresis, who gets which quality
//     this period, and the reasons.
//
// Everything is a pure function of its arguments: no clock, no sockets, and
// randomness only from the *rand.Rand handed in. The coordinator's leader and
// the simulator may call it. DESIGN.md, beside this file, says why it is so.
package quality
