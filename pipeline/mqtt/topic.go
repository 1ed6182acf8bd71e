package mqtt

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// errTopic reports a topic that no link of this version makes.
var errTopic = errors.New("not a topic of weft")

const (
	framesRoot     = "weft/v1/frames/"
	controlRoot    = "weft/v1/control/"
	detectionsRoot = "weft/v1/detections/"
	picturesRoot   = "weft/v1/pictures/"
)

// DetectionsTopic is where the detections of a source are published.
func DetectionsTopic(workflow, source string) string {
	return detectionsRoot + escape(workflow) + "/" + escape(source)
}

// PicturesTopic is where the pictures of a source are published.
func PicturesTopic(workflow, source string) string {
	return picturesRoot + escape(workflow) + "/" + escape(source)
}

// party is one end of a link: a node, and which run of its Link.
type party struct{ node, run string }

func framesTopic(to string, from party) string {
	return framesRoot + escape(to) + "/" + escape(from.node) + "/" + escape(from.run)
}

func framesFilter(to string) string { return framesRoot + escape(to) + "/+/+" }

func controlTopic(to, from party) string {
	return controlRoot + escape(to.node) + "/" + escape(to.run) + "/" + escape(from.node) + "/" + escape(from.run)
}

func controlFilter(to party) string {
	return controlRoot + escape(to.node) + "/" + escape(to.run) + "/+/+"
}

// sender returns who published to a frames or control topic.
func sender(topic string) (p party, err error) {
	levels := strings.Split(topic, "/")
	want := 6 // weft/v1/frames/TO/FROM/RUN
	if strings.HasPrefix(topic, controlRoot) {
		want = 7
	} else if !strings.HasPrefix(topic, framesRoot) {
		return party{}, fmt.Errorf("%w: %.80q", errTopic, topic)
	}
	if len(levels) != want {
		return party{}, fmt.Errorf("%w: %.80q has %d levels, want %d", errTopic, topic, len(levels), want)
	}
	if p.node, err = unescape(levels[want-2]); err != nil {
		return party{}, err
	}
	if p.run, err = unescape(levels[want-1]); err != nil {
		return party{}, err
	}
	return p, nil
}

// checkFilter says what makes a topic filter unfit to subscribe to (MQTT
// 3.1.1, section 4.7).
func checkFilter(filter string) error {
	switch {
	case filter == "":
		return errors.New("topic is empty")
	case len(filter) > 65535:
		return fmt.Errorf("topic of %d bytes, at most 65535", len(filter))
	case !utf8.ValidString(filter) || strings.ContainsRune(filter, 0):
		return fmt.Errorf("topic %.80q: must be UTF-8 without NUL", filter)
	}
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		if strings.Contains(l, "#") && (l != "#" || i != len(levels)-1) {
			return fmt.Errorf("topic %q: # must be the whole of the last level", filter)
		}
		if strings.Contains(l, "+") && l != "+" {
			return fmt.Errorf("topic %q: + must be the whole of a level", filter)
		}
	}
	return nil
}

// escape makes any name one level of a topic. It is injective; see unescape.
func escape(name string) string {
	const hex = "0123456789ABCDEF"
	plain := 0
	for plain < len(name) && isPlain(name[plain]) {
		plain++
	}
	if plain == len(name) {
		return name
	}
	b := append(make([]byte, 0, len(name)+8), name[:plain]...)
	for i := plain; i < len(name); i++ {
		if c := name[i]; isPlain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// unescape is the inverse of escape and refuses what escape does not make, so
// that a name has one topic only.
func unescape(level string) (string, error) {
	b := make([]byte, 0, len(level))
	for i := 0; i < len(level); i++ {
		c := level[i]
		if c == '%' {
			if i+2 >= len(level) {
				return "", fmt.Errorf("%w: level %.80q ends within an escape", errTopic, level)
			}
			hi, lo := unhex(level[i+1]), unhex(level[i+2])
			c = hi<<4 | lo
			if hi > 15 || lo > 15 || isPlain(c) {
				return "", fmt.Errorf("%w: level %.80q: escape %q", errTopic, level, level[i:i+3])
			}
			i += 2
		} else if !isPlain(c) {
			return "", fmt.Errorf("%w: level %.80q: %q is not escaped", errTopic, level, c)
		}
		b = append(b, c)
	}
	return string(b), nil
}

// isPlain holds for the unreserved characters of RFC 3986.
func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '_' || c == '.' || c == '~'
}

// unhex is over 15 for what is no upper-case hexadecimal digit.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
