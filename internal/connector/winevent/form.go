package winevent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/connector"
)

// parseXML reads an event as Windows renders it.
func parseXML(raw []byte) (event, error) {
	var x struct {
		System struct {
			Provider struct {
				Name string `xml:"Name,attr"`
			}
			EventID     string
			Keywords    string
			TimeCreated struct {
				SystemTime string `xml:"SystemTime,attr"`
			}
			EventRecordID string
			Channel       string
			Computer      string
		}
		EventData struct {
			Data []struct {
				Name string `xml:"Name,attr"`
				Text string `xml:",chardata"`
			}
		}
	}
	d := xml.NewDecoder(bytes.NewReader(raw))
	d.Strict = true
	if err := d.Decode(&x); err != nil {
		return event{}, fmt.Errorf("no event in XML: %.200s", err)
	}
	e := event{provider: x.System.Provider.Name, computer: strings.TrimSpace(x.System.Computer), channel: x.System.Channel, number: digits(x.System.EventRecordID), data: map[string]string{}}
	e.id, _ = strconv.Atoi(strings.TrimSpace(x.System.EventID)) // 0 is refused
	e.keywords, _ = strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(x.System.Keywords), "0x"), 16, 64)
	e.at, _ = connector.ParseTime(x.System.TimeCreated.SystemTime) // the zero time is refused
	for n, v := range x.EventData.Data {
		name := v.Name
		if name == "" {
			name = "param" + strconv.Itoa(n+1)
		}
		e.data[name] = v.Text
	}
	return e, nil
}

// parseJSON reads an event in one of three shapes: {"Event": {"System", "EventData"}},
// {"winlog": {"event_id", "event_data"}}, or flat with "EventID".
func parseJSON(raw []byte) (event, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(raw, &top); err != nil {
		return event{}, fmt.Errorf("no event in JSON: %w", err)
	}
	switch {
	case top["Event"] != nil:
		var inner struct{ System, EventData, UserData json.RawMessage }
		if err := json.Unmarshal(top["Event"], &inner); err != nil {
			return event{}, fmt.Errorf("the member Event is none: %w", err)
		}
		return fromXMLShape(inner.System, inner.EventData)
	case top["System"] != nil:
		return fromXMLShape(top["System"], top["EventData"])
	case top["winlog"] != nil:
		return fromBeat(top)
	}
	return fromFlat(top)
}

func fromXMLShape(system, data json.RawMessage) (event, error) {
	var s map[string]json.RawMessage
	if err := json.Unmarshal(system, &s); err != nil {
		return event{}, fmt.Errorf("the member System is none: %w", err)
	}
	e := event{computer: text(s["Computer"]), channel: text(s["Channel"]), number: digits(text(s["EventRecordID"])), provider: attr(s["Provider"], "Name"), data: map[string]string{}}
	e.id, _ = strconv.Atoi(text(s["EventID"]))
	e.keywords, _ = strconv.ParseUint(strings.TrimPrefix(text(s["Keywords"]), "0x"), 16, 64)
	e.at, _ = connector.ParseTime(attr(s["TimeCreated"], "SystemTime"))
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil {
		return e, nil // an event without data
	}
	var list []json.RawMessage
	if json.Unmarshal(members["Data"], &list) == nil { // [{"@Name": "TargetUserName", "#text": "ana"}]
		for _, d := range list {
			e.data[attr(d, "Name")] = text(d)
		}
		return e, nil
	}
	for n, v := range members {
		e.data[n] = text(v)
	}
	return e, nil
}

func fromBeat(top map[string]json.RawMessage) (event, error) {
	var w struct {
		EventID      json.RawMessage            `json:"event_id"`
		RecordID     json.RawMessage            `json:"record_id"`
		Computer     string                     `json:"computer_name"`
		Channel      string                     `json:"channel"`
		ProviderName string                     `json:"provider_name"`
		Keywords     []string                   `json:"keywords"`
		Data         map[string]json.RawMessage `json:"event_data"`
	}
	if err := json.Unmarshal(top["winlog"], &w); err != nil {
		return event{}, fmt.Errorf("the member winlog is none: %w", err)
	}
	e := event{provider: w.ProviderName, computer: w.Computer, channel: w.Channel, number: digits(text(w.RecordID)), data: map[string]string{}}
	e.id, _ = strconv.Atoi(text(w.EventID))
	e.at, _ = connector.ParseTime(text(top["@timestamp"]))
	for _, k := range w.Keywords {
		switch k {
		case "Audit Success":
			e.keywords |= auditSuccess
		case "Audit Failure":
			e.keywords |= auditFailure
		}
	}
	for n, v := range w.Data {
		e.data[n] = text(v)
	}
	return e, nil
}

func fromFlat(top map[string]json.RawMessage) (event, error) {
	e := event{data: map[string]string{}}
	for n, v := range top {
		e.data[n] = text(v)
	}
	first := func(names ...string) string {
		for _, n := range names {
			if v := e.data[n]; v != "" {
				return v
			}
		}
		return ""
	}
	e.id, _ = strconv.Atoi(first("EventID", "EventId", "event_id"))
	e.computer, e.channel, e.provider = first("Hostname", "Computer", "ComputerName", "MachineName"), first("Channel", "LogName"), first("SourceName", "ProviderName")
	e.number = digits(first("RecordNumber", "EventRecordID", "RecordId"))
	e.at, _ = connector.ParseTime(first("EventTime", "TimeCreated", "@timestamp", "EventReceivedTime"))
	switch first("EventType", "Keywords") {
	case "AUDIT_SUCCESS":
		e.keywords = auditSuccess
	case "AUDIT_FAILURE":
		e.keywords = auditFailure
	default:
		e.keywords, _ = strconv.ParseUint(strings.TrimPrefix(first("Keywords"), "0x"), 16, 64)
	}
	return e, nil
}

// text reads a string, a number, or the "#text" of an element with attributes.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return strings.TrimSpace(s)
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) == nil && m["#text"] != nil && !bytes.HasPrefix(bytes.TrimSpace(m["#text"]), []byte("{")) {
		return text(m["#text"])
	}
	return ""
}

// attr reads an attribute of an element: "@Name", "#attributes": {"Name"}, or "Name".
func attr(raw json.RawMessage, name string) string {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return ""
	}
	for _, k := range []string{"@" + name, name} {
		if m[k] != nil {
			return text(m[k])
		}
	}
	var a map[string]json.RawMessage
	if json.Unmarshal(m["#attributes"], &a) != nil {
		return ""
	}
	return text(a[name])
}

// digits returns s when it is a whole number, as the number of a record is.
func digits(s string) string {
	s = strings.TrimSpace(s)
	if _, err := strconv.ParseUint(s, 10, 64); err != nil {
		return ""
	}
	return s
}

// IsXML reports whether a stream is XML, by its first character, and returns the
// stream as it was.
func IsXML(r io.Reader) (bool, io.Reader, error) {
	in := bufio.NewReader(r)
	for n := 1; ; n++ {
		head, err := in.Peek(n)
		if err != nil {
			if err == io.EOF || err == bufio.ErrBufferFull {
				err = nil // nothing but white space
			}
			return false, in, err
		}
		switch c := head[n-1]; c {
		case ' ', '\t', '\r', '\n', 0xEF, 0xBB, 0xBF: // and a byte-order mark
		default:
			return c == '<', in, nil
		}
	}
}

// MaxEvent bounds one event, in bytes. Windows' own bound is 64 KiB of data.
const MaxEvent = 1 << 20

// Split yields the events of a stream of XML, <Event> after <Event>, with or without
// an <Events> around them, as they stand in it. What lies between is passed over. An
// event that is not closed, or longer than MaxEvent, is yielded as far as it goes and
// ends the stream. The error is r's own.
func Split(r io.Reader, yield func(raw []byte) bool) error {
	const open, shut = "<Event", "</Event>"
	var buf []byte
	block := make([]byte, 1<<16)
	for {
		n, err := r.Read(block)
		buf = append(buf, block[:n]...)
		for {
			at := start(buf)
			if at < 0 {
				buf = buf[max(0, len(buf)-len(open)):] // it may begin at the end
				break
			}
			buf = buf[at:]
			end := bytes.Index(buf, []byte(shut))
			if end < 0 {
				break
			}
			end += len(shut)
			if !yield(bytes.Clone(buf[:end])) {
				return nil
			}
			buf = buf[end:]
		}
		if err == nil && len(buf) <= MaxEvent {
			continue
		}
		if start(buf) == 0 {
			yield(bytes.Clone(buf[:min(len(buf), MaxEvent)]))
		}
		if err == io.EOF {
			return nil
		}
		return err
	}
}

// start finds "<Event" followed by what ends a name: not that of "<Events" or
// "<EventID". -1 when there is none, or its end is not there yet.
func start(b []byte) int {
	const open = "<Event"
	for from := 0; ; {
		at := bytes.Index(b[from:], []byte(open))
		if at < 0 || from+at+len(open) >= len(b) {
			return -1
		}
		at += from
		switch b[at+len(open)] {
		case '>', ' ', '\t', '\r', '\n':
			return at
		}
		from = at + len(open)
	}
}
