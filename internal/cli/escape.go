// SPDX-License-Identifier: MIT

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// printable escapes what is not printable, so that text from a process cannot move the cursor or start a new line.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// escaped writes JSON that contains printable characters only: encoding/json does not escape some control characters, nor
// those that change the direction of text. Each Write must consist of whole characters, as those of encoding/json and
// log/slog do.
type escaped struct{ io.Writer }

func (e escaped) Write(p []byte) (int, error) {
	text := make([]byte, 0, len(p))
	for _, r := range string(p) {
		if r < utf8.RuneSelf && r != 0x7f || strconv.IsPrint(r) {
			text = utf8.AppendRune(text, r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			text = fmt.Appendf(text, `\u%04x`, unit)
		}
	}
	if _, err := e.Writer.Write(text); err != nil {
		return 0, err
	}
	return len(p), nil
}

// answer writes data to stdout: as JSON if --output says so, or else as text does.
func (a *app) answer(data any, text func(io.Writer) error) error {
	if a.opts.output == "json" {
		return printJSON(a.stdout, data)
	}
	return text(a.stdout)
}

// printJSON writes v as one value of several lines.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(escaped{w})
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
