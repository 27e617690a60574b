package awstest

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

// Logs plays CloudWatch Logs: groups, streams and their events, which are found
// a while after they were written.
type Logs struct {
	Delay time.Duration // until an event is found
	Page  int           // events of a page; 0: 10,000, as AWS

	mu     sync.Mutex
	groups map[string]*logGroup
	next   int
}

type logGroup struct {
	types.LogGroup
	tags    map[string]string
	streams map[string]*logStream
}

type logStream struct {
	types.LogStream
	events []logEvent
}

type logEvent struct {
	id      string
	at, in  int64 // milliseconds since 1970
	message string
	stream  string
}

// maxMessage bounds an event, in bytes. Source: "CloudWatch Logs quotas".
const maxMessage = 256 << 10

// PlayLogs adds a CloudWatch Logs.
func (s *Server) PlayLogs() *Logs {
	l := &Logs{groups: make(map[string]*logGroup)}
	s.services["logs"] = &targets{mu: &l.mu, names: lowerFirst, calls: map[string]operation{
		"CreateLogGroup": op(l.createGroup), "DeleteLogGroup": op(l.deleteGroup), "DescribeLogGroups": op(l.describeGroups),
		"PutRetentionPolicy": op(l.putRetention), "DeleteRetentionPolicy": op(l.deleteRetention),
		"AssociateKmsKey": op(l.associateKey), "CreateLogStream": op(l.createStream), "DescribeLogStreams": op(l.describeStreams),
		"PutLogEvents": op(l.putEvents), "FilterLogEvents": op(l.filterEvents), "GetLogEvents": op(l.getEvents),
		"TagResource": op(l.tag), "UntagResource": op(l.untag), "ListTagsForResource": op(l.listTags),
	}}
	return l
}

var groupName = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]{1,512}$`)

func (l *Logs) createGroup(in *cloudwatchlogs.CreateLogGroupInput) (*cloudwatchlogs.CreateLogGroupOutput, *refusal) {
	name := awssdk.ToString(in.LogGroupName)
	switch {
	case !groupName.MatchString(name) || strings.HasPrefix(name, "aws/"):
		return nil, refuse("InvalidParameterException", "log group name %q", name)
	case l.groups[name] != nil:
		return nil, refuse("ResourceAlreadyExistsException", "The specified log group already exists")
	case len(in.Tags) > 50:
		return nil, refuse("InvalidParameterException", "Too many tags.")
	}
	tags := maps.Clone(in.Tags)
	if tags == nil {
		tags = make(map[string]string)
	}
	l.groups[name] = &logGroup{tags: tags, streams: make(map[string]*logStream), LogGroup: types.LogGroup{
		LogGroupName: in.LogGroupName, CreationTime: awssdk.Int64(time.Now().UnixMilli()), KmsKeyId: in.KmsKeyId,
		Arn: awssdk.String(arnOf("logs", "log-group:"+name+":*")), LogGroupArn: awssdk.String(arnOf("logs", "log-group:"+name)),
		LogGroupClass: types.LogGroupClassStandard,
	}}
	return &cloudwatchlogs.CreateLogGroupOutput{}, nil
}

// group returns the one that a name or ARN means.
func (l *Logs) group(name, arn *string) (*logGroup, *refusal) {
	n := cmp.Or(awssdk.ToString(name), awssdk.ToString(arn))
	if _, after, ok := strings.Cut(n, ":log-group:"); ok {
		n = strings.TrimSuffix(after, ":*")
	}
	if g := l.groups[n]; g != nil {
		return g, nil
	}
	return nil, refuse("ResourceNotFoundException", "The specified log group does not exist.")
}

func (l *Logs) deleteGroup(in *cloudwatchlogs.DeleteLogGroupInput) (*cloudwatchlogs.DeleteLogGroupOutput, *refusal) {
	g, no := l.group(in.LogGroupName, nil)
	if no != nil {
		return nil, no
	}
	delete(l.groups, *g.LogGroupName)
	return &cloudwatchlogs.DeleteLogGroupOutput{}, nil
}

func (l *Logs) describeGroups(in *cloudwatchlogs.DescribeLogGroupsInput) (*cloudwatchlogs.DescribeLogGroupsOutput, *refusal) {
	var list []types.LogGroup
	for _, name := range sortedKeys(l.groups) {
		if strings.HasPrefix(name, awssdk.ToString(in.LogGroupNamePrefix)) && strings.Contains(name, awssdk.ToString(in.LogGroupNamePattern)) {
			list = append(list, l.groups[name].LogGroup)
		}
	}
	page, next, no := paged(list, in.NextToken, awssdk.ToInt32(in.Limit), 50)
	return &cloudwatchlogs.DescribeLogGroupsOutput{LogGroups: page, NextToken: next}, no
}

// retentions are the days that AWS takes. Source: PutRetentionPolicy.
var retentions = []int32{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

func (l *Logs) putRetention(in *cloudwatchlogs.PutRetentionPolicyInput) (*cloudwatchlogs.PutRetentionPolicyOutput, *refusal) {
	g, no := l.group(in.LogGroupName, nil)
	switch {
	case no != nil:
		return nil, no
	case !slices.Contains(retentions, awssdk.ToInt32(in.RetentionInDays)):
		return nil, refuse("InvalidParameterException", "retention of %d days", awssdk.ToInt32(in.RetentionInDays))
	}
	g.RetentionInDays = in.RetentionInDays
	return &cloudwatchlogs.PutRetentionPolicyOutput{}, nil
}

func (l *Logs) deleteRetention(in *cloudwatchlogs.DeleteRetentionPolicyInput) (*cloudwatchlogs.DeleteRetentionPolicyOutput, *refusal) {
	g, no := l.group(in.LogGroupName, nil)
	if no == nil {
		g.RetentionInDays = nil
	}
	return &cloudwatchlogs.DeleteRetentionPolicyOutput{}, no
}

func (l *Logs) associateKey(in *cloudwatchlogs.AssociateKmsKeyInput) (*cloudwatchlogs.AssociateKmsKeyOutput, *refusal) {
	g, no := l.group(in.LogGroupName, in.ResourceIdentifier)
	if no == nil {
		g.KmsKeyId = in.KmsKeyId
	}
	return &cloudwatchlogs.AssociateKmsKeyOutput{}, no
}

func (l *Logs) createStream(in *cloudwatchlogs.CreateLogStreamInput) (*cloudwatchlogs.CreateLogStreamOutput, *refusal) {
	g, no := l.group(in.LogGroupName, nil)
	switch name := awssdk.ToString(in.LogStreamName); {
	case no != nil:
		return nil, no
	case name == "" || len(name) > 512 || strings.ContainsAny(name, ":*"):
		return nil, refuse("InvalidParameterException", "log stream name %q", name)
	case g.streams[name] != nil:
		return nil, refuse("ResourceAlreadyExistsException", "The specified log stream already exists")
	default:
		g.streams[name] = &logStream{LogStream: types.LogStream{
			LogStreamName: in.LogStreamName, CreationTime: awssdk.Int64(time.Now().UnixMilli()), Arn: awssdk.String(*g.LogGroupArn + ":log-stream:" + name),
		}}
	}
	return &cloudwatchlogs.CreateLogStreamOutput{}, nil
}

func (l *Logs) describeStreams(in *cloudwatchlogs.DescribeLogStreamsInput) (*cloudwatchlogs.DescribeLogStreamsOutput, *refusal) {
	g, no := l.group(in.LogGroupName, in.LogGroupIdentifier)
	if no != nil {
		return nil, no
	}
	var list []types.LogStream
	for _, name := range sortedKeys(g.streams) {
		if strings.HasPrefix(name, awssdk.ToString(in.LogStreamNamePrefix)) {
			list = append(list, g.streams[name].LogStream)
		}
	}
	page, next, no := paged(list, in.NextToken, awssdk.ToInt32(in.Limit), 50)
	return &cloudwatchlogs.DescribeLogStreamsOutput{LogStreams: page, NextToken: next}, no
}

func (l *Logs) putEvents(in *cloudwatchlogs.PutLogEventsInput) (*cloudwatchlogs.PutLogEventsOutput, *refusal) {
	g, no := l.group(in.LogGroupName, nil)
	if no != nil {
		return nil, no
	}
	s := g.streams[awssdk.ToString(in.LogStreamName)]
	if s == nil {
		return nil, refuse("ResourceNotFoundException", "The specified log stream does not exist.")
	}
	for n, e := range in.LogEvents {
		if n > 0 && *e.Timestamp < *in.LogEvents[n-1].Timestamp {
			return nil, refuse("InvalidParameterException", "Log events in a single PutLogEvents request must be in chronological order.")
		}
		l.add(s, *e.Timestamp, *e.Message)
	}
	return &cloudwatchlogs.PutLogEventsOutput{}, nil
}

func (l *Logs) add(s *logStream, at int64, message string) {
	l.next++
	now := time.Now().UnixMilli()
	s.events = append(s.events, logEvent{
		id: strconv.Itoa(1_000_000_000 + l.next), at: at, in: now, message: message[:min(len(message), maxMessage)], stream: *s.LogStreamName,
	})
	if s.FirstEventTimestamp == nil {
		s.FirstEventTimestamp = awssdk.Int64(at)
	}
	s.LastEventTimestamp, s.LastIngestionTime = awssdk.Int64(at), awssdk.Int64(now)
}

// driver is the log driver of a container: what writes a line to a stream, which
// it makes. The group must be there.
func (l *Logs) driver(group, stream string) (func(line string), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g, no := l.group(&group, nil)
	if no != nil {
		return nil, errorOf(no)
	}
	if g.streams[stream] == nil {
		if _, no := l.createStream(&cloudwatchlogs.CreateLogStreamInput{LogGroupName: &group, LogStreamName: &stream}); no != nil {
			return nil, errorOf(no)
		}
	}
	return func(line string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if g := l.groups[group]; g != nil && g.streams[stream] != nil { // or what is written is lost
			l.add(g.streams[stream], time.Now().UnixMilli(), line)
		}
	}, nil
}

func (l *Logs) found(g *logGroup, from, to *int64, chosen func(logEvent) bool) []logEvent {
	var list []logEvent
	known := time.Now().Add(-l.Delay).UnixMilli()
	for _, s := range g.streams {
		for _, e := range s.events {
			if e.in > known || from != nil && e.at < *from || to != nil && e.at >= *to || !chosen(e) {
				continue
			}
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b logEvent) int { return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.id, b.id)) })
	return list
}

func (l *Logs) filterEvents(in *cloudwatchlogs.FilterLogEventsInput) (*cloudwatchlogs.FilterLogEventsOutput, *refusal) {
	g, no := l.group(in.LogGroupName, in.LogGroupIdentifier)
	switch {
	case no != nil:
		return nil, no
	case len(in.LogStreamNames) > 0 && in.LogStreamNamePrefix != nil:
		return nil, refuse("InvalidParameterException", "Either names of streams or their prefix.")
	case len(in.LogStreamNames) > 100:
		return nil, refuse("InvalidParameterException", "At most 100 streams.")
	}
	list := l.found(g, in.StartTime, in.EndTime, func(e logEvent) bool {
		return (len(in.LogStreamNames) == 0 || slices.Contains(in.LogStreamNames, e.stream)) &&
			strings.HasPrefix(e.stream, awssdk.ToString(in.LogStreamNamePrefix)) &&
			strings.Contains(e.message, strings.Trim(awssdk.ToString(in.FilterPattern), `"`))
	})
	page, next, no := paged(list, in.NextToken, awssdk.ToInt32(in.Limit), int32(cmp.Or(l.Page, 10_000))) //nolint:gosec // small
	out := &cloudwatchlogs.FilterLogEventsOutput{NextToken: next}
	for _, e := range page {
		out.Events = append(out.Events, types.FilteredLogEvent{
			EventId: &e.id, Timestamp: &e.at, IngestionTime: &e.in, Message: &e.message, LogStreamName: &e.stream,
		})
	}
	return out, no
}

func (l *Logs) getEvents(in *cloudwatchlogs.GetLogEventsInput) (*cloudwatchlogs.GetLogEventsOutput, *refusal) {
	g, no := l.group(in.LogGroupName, in.LogGroupIdentifier)
	switch {
	case no != nil:
		return nil, no
	case g.streams[awssdk.ToString(in.LogStreamName)] == nil:
		return nil, refuse("ResourceNotFoundException", "The specified log stream does not exist.")
	}
	list := l.found(g, in.StartTime, in.EndTime, func(e logEvent) bool { return e.stream == *in.LogStreamName })
	page, _, no := paged(list, in.NextToken, awssdk.ToInt32(in.Limit), 10_000)
	out := &cloudwatchlogs.GetLogEventsOutput{NextForwardToken: awssdk.String("page-" + strconv.Itoa(len(list)))}
	for _, e := range page {
		out.Events = append(out.Events, types.OutputLogEvent{Timestamp: &e.at, IngestionTime: &e.in, Message: &e.message})
	}
	return out, no
}

func (l *Logs) tag(in *cloudwatchlogs.TagResourceInput) (*cloudwatchlogs.TagResourceOutput, *refusal) {
	g, no := l.group(nil, in.ResourceArn)
	if no == nil {
		maps.Copy(g.tags, in.Tags)
	}
	return &cloudwatchlogs.TagResourceOutput{}, no
}

func (l *Logs) untag(in *cloudwatchlogs.UntagResourceInput) (*cloudwatchlogs.UntagResourceOutput, *refusal) {
	g, no := l.group(nil, in.ResourceArn)
	if no == nil {
		maps.DeleteFunc(g.tags, func(k, _ string) bool { return slices.Contains(in.TagKeys, k) })
	}
	return &cloudwatchlogs.UntagResourceOutput{}, no
}

func (l *Logs) listTags(in *cloudwatchlogs.ListTagsForResourceInput) (*cloudwatchlogs.ListTagsForResourceOutput, *refusal) {
	g, no := l.group(nil, in.ResourceArn)
	if no != nil {
		return nil, no
	}
	return &cloudwatchlogs.ListTagsForResourceOutput{Tags: g.tags}, nil
}
