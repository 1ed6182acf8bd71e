package tiering

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestTierText(t *testing.T) {
	for _, tier := range append(Tiers(), 0) {
		b, err := json.Marshal(tier)
		var got Tier
		if err != nil || json.Unmarshal(b, &got) != nil || got != tier {
			t.Errorf("%v became %s and then %v (%v)", tier, b, got, err)
		}
	}
	var got Tier
	if err := json.Unmarshal([]byte(`"cloudlet"`), &got); !errors.Is(err, ErrUnknownTier) {
		t.Errorf("cloudlet: %v, want ErrUnknownTier", err)
	}
	if Distance(Edge, Cloud) != 2 || Distance(Cloud, Fog) != 1 || Distance(Fog, Fog) != 0 {
		t.Error("edge to cloud is two tiers, cloud to fog one, fog to fog none")
	}
}

func TestAmountsForPeople(t *testing.T) {
	tests := []struct{ got, want string }{
		{FormatCPU(1000), "1 core"},
		{FormatCPU(2500), "2.5 cores"},
		{FormatCPU(0), "0 cores"},
		{FormatBytes(1023), "1023 B"},
		{FormatBytes(1536), "1.5 KiB"},
		{FormatBytes(-3 * gib), "-3 GiB"},
		{FormatBytes(512 << 20), "512 MiB"},
		{res(1.5, 0.5).String(), "1.5 cores, 512 MiB memory, 0 B disk"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestHalfRoundsUp(t *testing.T) {
	if got, want := (Resources{1, 2, 3}).Half(), (Resources{1, 1, 2}); got != want {
		t.Errorf("half is %v, want %v", got, want)
	}
}
