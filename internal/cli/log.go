// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/journal"

	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/screen"
)

// The values of --log-format.
const (
	logAuto    = "auto"
	logText    = "text"
	logJournal = "journal"
)

// openLog opens the log of a service, and makes it take what the program writes to stderr from now on. The lines are JSON
// while they are queued.
func (m *messages) openLog(format string, level slog.Leveler) (log *slog.Logger, dropped func() uint64, err error) {
	to, err := logWriter(m.stderr, format)
	if err != nil {
		return nil, nil, err
	}
	formatted := func(to io.Writer) slog.Handler {
		return slog.NewJSONHandler(escaped{to}, &slog.HandlerOptions{Level: level})
	}
	queue := daemon.NewLog(to, formatted)
	m.stderr, m.closeLog = queue, queue.Close
	return slog.New(formatted(queue)), queue.Dropped, nil
}

// logWriter takes JSON lines, and writes them to out, or to the journal, in the format that is wanted.
func logWriter(out io.Writer, format string) (io.Writer, error) {
	isJournal := journal.Enabled()
	switch {
	case format == logJournal && !isJournal:
		return nil, errors.New("--log-format journal: there is no journal at /run/systemd/journal/socket: use another format")
	case format != logAuto:
	case out == os.Stderr && isJournal && isJournalStream():
		format = logJournal
	case screen.IsTerminal(out):
		format = logText
	}
	switch format {
	case logJournal:
		return lineWriter(sendToJournal), nil
	case logText:
		return lineWriter(func(l *logRecord) error {
			_, err := fmt.Fprintln(out, l.text())
			return err
		}), nil
	}
	return out, nil
}

// isJournalStream reports whether stderr is a stream that systemd has connected to the journal.
func isJournalStream() bool {
	is, err := journal.StderrIsJournalStream()
	return is && err == nil
}

// lineWriter takes whole JSON lines, and passes on each.
type lineWriter func(*logRecord) error

// Write implements [io.Writer]. It returns how many bytes of lines were passed on.
func (w lineWriter) Write(lines []byte) (n int, err error) {
	for line := range bytes.Lines(lines) {
		if text := bytes.TrimSpace(line); len(text) > 0 {
			if err := w(parseLogRecord(text)); err != nil {
				return n, err
			}
		}
		n += len(line)
	}
	return n, nil
}

// logRecord is a line of the log.
type logRecord struct {
	at      time.Time
	level   slog.Level
	message string
	// fields are the others by their names. A line that is not JSON, such as an error that ends the program, has none.
	fields map[string]any
}

func parseLogRecord(text []byte) *logRecord {
	l := &logRecord{level: slog.LevelError, message: string(text)}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if decoder.Decode(&l.fields) != nil {
		return l
	}
	take := func(key string) string {
		value, _ := l.fields[key].(string)
		delete(l.fields, key)
		return value
	}
	l.message = take(slog.MessageKey)
	l.at, _ = time.Parse(time.RFC3339Nano, take(slog.TimeKey)) // log/slog wrote it
	_ = l.level.UnmarshalText([]byte(take(slog.LevelKey)))
	return l
}

// text is the line for a terminal.
func (l *logRecord) text() string {
	if l.fields == nil {
		return printable(l.message)
	}
	return fmt.Sprintf("%s %-5s %s", l.at.Local().Format(time.DateTime), l.level, printable(l.message))
}

// journalFields are the fields with names of their own in the journal. journald adds what it knows of the process to
// OBJECT_PID. Every other field has its name in capitals.
var journalFields = map[string]string{"pid": "OBJECT_PID", "uid": "OBJECT_UID"}

// sendToJournal sends a line by the journal's native protocol.
func sendToJournal(l *logRecord) error {
	fields := map[string]string{"SYSLOG_IDENTIFIER": "ebpf-upgrader"}
	for key, value := range l.fields {
		name := journalFields[key]
		if name == "" {
			name = strings.ToUpper(key)
		}
		fields[name] = printable(fieldText(value))
	}
	return journal.Send(printable(l.message), priority(l.level), fields)
}

func fieldText(value any) string {
	if text, isText := value.(string); isText {
		return text
	}
	text, _ := json.Marshal(value) //nolint:errchkjson // it was JSON
	return string(text)
}

func priority(level slog.Level) journal.Priority {
	switch {
	case level >= slog.LevelError:
		return journal.PriErr
	case level >= slog.LevelWarn:
		return journal.PriWarning
	case level >= slog.LevelInfo:
		return journal.PriInfo
	}
	return journal.PriDebug
}
