package dataset

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// openCOCO opens a directory with COCO's layout, or the one that an annotation
// file is in.
func openCOCO(where string) (*Set, error) {
	file, err := annotationFile(where)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataset, err)
	}
	all, err := DecodeCOCO(file, data)
	if err != nil {
		return nil, err
	}
	if len(all.Pictures) == 0 {
		return nil, fmt.Errorf("%w: %s lists no pictures", ErrDataset, file)
	}
	dir, err := picturesOf(file, all.Pictures)
	if err != nil {
		return nil, err
	}
	return &Set{classes: all.Classes, length: len(all.Pictures), load: func(i int) (Sample, error) {
		p := all.Pictures[i]
		img, err := readPicture(dir, p.File)
		return Sample{Name: p.File, Picture: img, Truth: p.Truth}, err
	}}, nil
}

// annotationFile is where itself if it is a file, else the one in it.
func annotationFile(where string) (string, error) {
	if info, err := os.Stat(where); err == nil && info.Mode().IsRegular() {
		return where, nil
	}
	if err := directory(where); err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(escape(where), "annotations", "instances_*.json"))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrDataset, err)
	}
	switch {
	case len(found) == 0:
		return "", fmt.Errorf("%w: %s has no annotations/instances_*.json; name another file as coco:FILE", ErrDataset, where)
	case len(found) > 1:
		return "", fmt.Errorf("%w: %s has %d annotation files: choose one, such as coco:%s", ErrDataset, where, len(found), found[len(found)-1])
	}
	return found[0], nil
}

// escape makes a path one that filepath.Glob matches as it is.
func escape(path string) string {
	return strings.NewReplacer("*", "[*]", "?", "[?]", "[", "[[]").Replace(path)
}

// picturesOf is the directory that has the pictures of an annotation file.
func picturesOf(file string, pictures []Annotated) (string, error) {
	base := filepath.Dir(file)
	if filepath.Base(base) == "annotations" {
		base = filepath.Dir(base)
	}
	name := strings.TrimPrefix(strings.TrimSuffix(filepath.Base(file), ".json"), "instances_")
	tried := []string{filepath.Join(base, name), filepath.Join(base, "images", name), filepath.Join(base, "images"), base}
	for _, dir := range tried {
		absent, first := 0, ""
		for _, p := range pictures {
			if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(p.File))); err != nil {
				absent, first = absent+1, cmp.Or(first, p.File)
			}
		}
		switch absent {
		case 0:
			return dir, nil
		case len(pictures):
			continue
		}
		return "", fmt.Errorf("%w: %d of the %d pictures of %s are not in %s, the first of them %s: get them, or list only those that are there",
			ErrDataset, absent, len(pictures), file, dir, first)
	}
	return "", fmt.Errorf("%w: the pictures of %s, such as %s, are in none of %s", ErrDataset, file, pictures[0].File, strings.Join(tried, ", "))
}
