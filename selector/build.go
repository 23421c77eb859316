// SPDX-License-Identifier: MIT

package selector

// Build is what the file of a program says of itself. The file is written by a user, so nothing follows from it but what is
// shown. Each field is printable ASCII of at most [MaxBuildText] bytes, and empty where the file does not have it.
type Build struct {
	// BuildID is the build id that the linker wrote: that of GNU in hexadecimal, or else the last part of Go's.
	BuildID string `json:"build_id,omitzero"`
	// Version is the version of the packager, or else that of Go's main module.
	Version string `json:"version,omitzero"`
}

// MaxBuildText bounds the fields of a [Build].
const MaxBuildText = 64

// shortBuildID is how much of a build id is shown. Nothing is looked up by it.
const shortBuildID = 8

// String returns the version with the beginning of the build id, as far as they are known: "1.4.2 (build 3f2a1cd4)".
func (b Build) String() string {
	id := b.BuildID[:min(len(b.BuildID), shortBuildID)]
	switch {
	case id == "":
		return b.Version
	case b.Version == "":
		return "build " + id
	}
	return b.Version + " (build " + id + ")"
}

// Binary is an image with what its file says of itself.
type Binary struct {
	Image
	Build
}

// String returns the version or build id, or else the numbers of the image.
func (b Binary) String() string {
	if text := b.Build.String(); text != "" {
		return text
	}
	return b.Image.String()
}
