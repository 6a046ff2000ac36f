package wire

import (
	"errors"
	"fmt"
	"strings"

	"github.com/segmentio/kafka-go"
)

// CodeError is a broker's refusal under Kafka's own name: "NAME (n): sentence". errors.Is
// and errors.As find the kafka.Error in it. kafka-go has other names, and none for codes
// newer than Kafka 3.1.
type CodeError struct{ Code kafka.Error }

func (e *CodeError) Error() string {
	known, ok := codes[e.Code]
	if !ok {
		return fmt.Sprintf("error code %d", int16(e.Code))
	}
	return fmt.Sprintf("%s (%d): %s", known.name, int16(e.Code), known.sentence)
}

// Unwrap returns the code.
func (e *CodeError) Unwrap() error { return e.Code }

// codeError returns the *CodeError of a code; nil for 0.
func codeError(code int16) error {
	if code == 0 {
		return nil
	}
	return &CodeError{kafka.Error(code)}
}

// Named gives err Kafka's name for its code, if it is one of kafka-go's errors with a code;
// else it returns err itself, nil included.
func Named(err error) error {
	code, ok := errors.AsType[kafka.Error](err)
	if _, done := errors.AsType[*CodeError](err); !ok || done {
		return err
	}
	if err == error(code) { //nolint:errorlint // only an error that is the code itself has no other words
		return &CodeError{code}
	}
	return &namedError{err, strings.ReplaceAll(err.Error(), code.Error(), (&CodeError{code}).Error())}
}

// namedError is an error with another text.
type namedError struct {
	err  error
	text string
}

func (e *namedError) Error() string { return e.text }
func (e *namedError) Unwrap() error { return e.err }

// Class is a kind of error code that callers distinguish; 0: no class.
type Class int

// The classes of codes.
const (
	LeaderMoved      Class = iota + 1 // the partition is elsewhere, or will be: the layout of the cluster is old
	CoordinatorMoved                  // the same of the coordinator of a group or a transactional id
	UnknownTopic                      // the broker has no such topic or partition; it may be too new
	OtherTopic                        // the topic with this id is gone, another one may have its name
	Fenced                            // the transactional session is over
	Rejected                          // the records will never be taken as they are
	Membership                        // the group has no such member, or not in this generation, or no such group
)

// ClassOf returns the class of the code in err; 0: there is no code, or it has no class.
func ClassOf(err error) Class {
	code, _ := errors.AsType[kafka.Error](err)
	return codes[code].class
}

// Retriable says whether the same request may get another answer later: Kafka calls the
// code of err retriable, or there was no answer. Without a version in common
// ([ErrUnsupported]) there will be none.
func Retriable(err error) bool {
	if code, answered := errors.AsType[kafka.Error](err); answered {
		return codes[code].retriable
	}
	return !errors.Is(err, ErrUnsupported)
}

// codes are all error codes of the protocol up to Kafka 4.2, and whether a client may repeat
// a request after them.
// https://kafka.apache.org/protocol#protocol_error_codes
var codes = map[kafka.Error]struct {
	name      string
	retriable bool
	class     Class
	sentence  string
}{
	-1:  {"UNKNOWN_SERVER_ERROR", false, 0, "the server experienced an unexpected error when processing the request"},
	1:   {"OFFSET_OUT_OF_RANGE", false, 0, "the requested offset is not within the range of offsets maintained by the server"},
	2:   {"CORRUPT_MESSAGE", true, 0, "this message has failed its CRC checksum, exceeds the valid size, has a null key for a compacted topic, or is otherwise corrupt"},
	3:   {"UNKNOWN_TOPIC_OR_PARTITION", true, UnknownTopic, "this server does not host this topic-partition"},
	4:   {"INVALID_FETCH_SIZE", false, 0, "the requested fetch size is invalid"},
	5:   {"LEADER_NOT_AVAILABLE", true, LeaderMoved, "there is no leader for this topic-partition as we are in the middle of a leadership election"},
	6:   {"NOT_LEADER_OR_FOLLOWER", true, LeaderMoved, "for requests intended only for the leader, this error indicates that the broker is not the current leader; for requests intended for any replica, this error indicates that the broker is not a replica of the topic partition"},
	7:   {"REQUEST_TIMED_OUT", true, 0, "the request timed out"},
	8:   {"BROKER_NOT_AVAILABLE", true, LeaderMoved, "the broker is not available"},
	9:   {"REPLICA_NOT_AVAILABLE", true, LeaderMoved, "the replica is not available for the requested topic-partition"},
	10:  {"MESSAGE_TOO_LARGE", false, Rejected, "the request included a message larger than the max message size the server will accept"},
	11:  {"STALE_CONTROLLER_EPOCH", false, 0, "the controller moved to another broker"},
	12:  {"OFFSET_METADATA_TOO_LARGE", false, 0, "the metadata field of the offset request was too large"},
	13:  {"NETWORK_EXCEPTION", true, 0, "the server disconnected before a response was received"},
	14:  {"COORDINATOR_LOAD_IN_PROGRESS", true, CoordinatorMoved, "the coordinator is loading and hence can't process requests"},
	15:  {"COORDINATOR_NOT_AVAILABLE", true, CoordinatorMoved, "the coordinator is not available"},
	16:  {"NOT_COORDINATOR", true, CoordinatorMoved, "this is not the correct coordinator"},
	17:  {"INVALID_TOPIC_EXCEPTION", false, 0, "the request attempted to perform an operation on an invalid topic"},
	18:  {"RECORD_LIST_TOO_LARGE", false, Rejected, "the request included message batch larger than the configured segment size on the server"},
	19:  {"NOT_ENOUGH_REPLICAS", true, 0, "messages are rejected since there are fewer in-sync replicas than required"},
	20:  {"NOT_ENOUGH_REPLICAS_AFTER_APPEND", true, 0, "messages are written to the log, but to fewer in-sync replicas than required"},
	21:  {"INVALID_REQUIRED_ACKS", false, 0, "produce request specified an invalid value for required acks"},
	22:  {"ILLEGAL_GENERATION", false, Membership, "specified group generation id is not valid"},
	23:  {"INCONSISTENT_GROUP_PROTOCOL", false, Membership, "the group member's supported protocols are incompatible with those of existing members or first group member tried to join with empty protocol type or empty protocol list"},
	24:  {"INVALID_GROUP_ID", false, Membership, "the configured groupID is invalid"},
	25:  {"UNKNOWN_MEMBER_ID", false, Membership, "the coordinator is not aware of this member"},
	26:  {"INVALID_SESSION_TIMEOUT", false, 0, "the session timeout is not within the range allowed by the broker (as configured by group.min.session.timeout.ms and group.max.session.timeout.ms)"},
	27:  {"REBALANCE_IN_PROGRESS", false, Membership, "the group is rebalancing, so a rejoin is needed"},
	28:  {"INVALID_COMMIT_OFFSET_SIZE", false, 0, "the committing offset data size is not valid"},
	29:  {"TOPIC_AUTHORIZATION_FAILED", false, 0, "not authorized to access topics: [Topic authorization failed.]"},
	30:  {"GROUP_AUTHORIZATION_FAILED", false, 0, "not authorized to access group: Group authorization failed"},
	31:  {"CLUSTER_AUTHORIZATION_FAILED", false, 0, "cluster authorization failed"},
	32:  {"INVALID_TIMESTAMP", false, Rejected, "the timestamp of the message is out of acceptable range"},
	33:  {"UNSUPPORTED_SASL_MECHANISM", false, 0, "the broker does not support the requested SASL mechanism"},
	34:  {"ILLEGAL_SASL_STATE", false, 0, "request is not valid given the current SASL state"},
	35:  {"UNSUPPORTED_VERSION", false, 0, "the version of API is not supported"},
	36:  {"TOPIC_ALREADY_EXISTS", false, 0, "topic with this name already exists"},
	37:  {"INVALID_PARTITIONS", false, 0, "number of partitions is below 1"},
	38:  {"INVALID_REPLICATION_FACTOR", false, 0, "replication factor is below 1 or larger than the number of available brokers"},
	39:  {"INVALID_REPLICA_ASSIGNMENT", false, 0, "replica assignment is invalid"},
	40:  {"INVALID_CONFIG", false, 0, "configuration is invalid"},
	41:  {"NOT_CONTROLLER", true, 0, "this is not the correct controller for this cluster"},
	42:  {"INVALID_REQUEST", false, 0, "this most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details"},
	43:  {"UNSUPPORTED_FOR_MESSAGE_FORMAT", false, 0, "the message format version on the broker does not support the request"},
	44:  {"POLICY_VIOLATION", false, 0, "request parameters do not satisfy the configured policy"},
	45:  {"OUT_OF_ORDER_SEQUENCE_NUMBER", false, 0, "the broker received an out of order sequence number"},
	46:  {"DUPLICATE_SEQUENCE_NUMBER", false, 0, "the broker received a duplicate sequence number"},
	47:  {"INVALID_PRODUCER_EPOCH", false, Fenced, "producer attempted an operation with an old epoch"},
	48:  {"INVALID_TXN_STATE", false, 0, "the producer attempted a transactional operation in an invalid state"},
	49:  {"INVALID_PRODUCER_ID_MAPPING", false, Fenced, "the producer attempted to use a producer id which is not currently assigned to its transactional id"},
	50:  {"INVALID_TRANSACTION_TIMEOUT", false, 0, "the transaction timeout is larger than the maximum value allowed by the broker (as configured by transaction.max.timeout.ms)"},
	51:  {"CONCURRENT_TRANSACTIONS", true, 0, "the producer attempted to update a transaction while another concurrent operation on the same transaction was ongoing"},
	52:  {"TRANSACTION_COORDINATOR_FENCED", false, 0, "indicates that the transaction coordinator sending a WriteTxnMarker is no longer the current coordinator for a given producer"},
	53:  {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED", false, 0, "transactional ID authorization failed"},
	54:  {"SECURITY_DISABLED", false, 0, "security features are disabled"},
	55:  {"OPERATION_NOT_ATTEMPTED", false, 0, "the broker did not attempt to execute this operation. This may happen for batched RPCs where some operations in the batch failed, causing the broker to respond without trying the rest"},
	56:  {"KAFKA_STORAGE_ERROR", true, LeaderMoved, "disk error when trying to access log file on the disk"},
	57:  {"LOG_DIR_NOT_FOUND", false, 0, "the user-specified log directory is not found in the broker config"},
	58:  {"SASL_AUTHENTICATION_FAILED", false, 0, "SASL authentication failed"},
	59:  {"UNKNOWN_PRODUCER_ID", false, 0, "this exception is raised by the broker if it could not locate the producer metadata associated with the producerID in question. This could happen if, for instance, the producer's records were deleted because their retention time had elapsed. Once the last records of the producerID are removed, the producer's metadata is removed from the broker, and future appends by the producer will return this exception"},
	60:  {"REASSIGNMENT_IN_PROGRESS", false, 0, "a partition reassignment is in progress"},
	61:  {"DELEGATION_TOKEN_AUTH_DISABLED", false, 0, "delegation Token feature is not enabled"},
	62:  {"DELEGATION_TOKEN_NOT_FOUND", false, 0, "delegation Token is not found on server"},
	63:  {"DELEGATION_TOKEN_OWNER_MISMATCH", false, 0, "specified Principal is not valid Owner/Renewer"},
	64:  {"DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", false, 0, "delegation Token requests are not allowed on PLAINTEXT/1-way SSL channels and on delegation token authenticated channels"},
	65:  {"DELEGATION_TOKEN_AUTHORIZATION_FAILED", false, 0, "delegation Token authorization failed"},
	66:  {"DELEGATION_TOKEN_EXPIRED", false, 0, "delegation Token is expired"},
	67:  {"INVALID_PRINCIPAL_TYPE", false, 0, "supplied principalType is not supported"},
	68:  {"NON_EMPTY_GROUP", false, 0, "the group is not empty"},
	69:  {"GROUP_ID_NOT_FOUND", false, Membership, "the group id does not exist"},
	70:  {"FETCH_SESSION_ID_NOT_FOUND", true, 0, "the fetch session ID was not found"},
	71:  {"INVALID_FETCH_SESSION_EPOCH", true, 0, "the fetch session epoch is invalid"},
	72:  {"LISTENER_NOT_FOUND", true, LeaderMoved, "there is no listener on the leader broker that matches the listener on which metadata request was processed"},
	73:  {"TOPIC_DELETION_DISABLED", false, 0, "topic deletion is disabled"},
	74:  {"FENCED_LEADER_EPOCH", true, LeaderMoved, "the leader epoch in the request is older than the epoch on the broker"},
	75:  {"UNKNOWN_LEADER_EPOCH", true, LeaderMoved, "the leader epoch in the request is newer than the epoch on the broker"},
	76:  {"UNSUPPORTED_COMPRESSION_TYPE", false, 0, "the requesting client does not support the compression type of given partition"},
	77:  {"STALE_BROKER_EPOCH", false, 0, "broker epoch has changed"},
	78:  {"OFFSET_NOT_AVAILABLE", true, 0, "the leader high watermark has not caught up from a recent leader election so the offsets cannot be guaranteed to be monotonically increasing"},
	79:  {"MEMBER_ID_REQUIRED", false, 0, "the group member needs to have a valid member id before actually entering a consumer group"},
	80:  {"PREFERRED_LEADER_NOT_AVAILABLE", true, 0, "the preferred leader was not available"},
	81:  {"GROUP_MAX_SIZE_REACHED", false, 0, "the consumer group has reached its max size"},
	82:  {"FENCED_INSTANCE_ID", false, Membership, "the broker rejected this static consumer since another consumer with the same group.instance.id has registered with a different member.id"},
	83:  {"ELIGIBLE_LEADERS_NOT_AVAILABLE", true, 0, "eligible topic partition leaders are not available"},
	84:  {"ELECTION_NOT_NEEDED", true, 0, "leader election not needed for topic partition"},
	85:  {"NO_REASSIGNMENT_IN_PROGRESS", false, 0, "no partition reassignment is in progress"},
	86:  {"GROUP_SUBSCRIBED_TO_TOPIC", false, 0, "deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it"},
	87:  {"INVALID_RECORD", false, Rejected, "this record has failed the validation on the broker and hence been rejected"},
	88:  {"UNSTABLE_OFFSET_COMMIT", true, 0, "there are unstable offsets that need to be cleared"},
	89:  {"THROTTLING_QUOTA_EXCEEDED", true, 0, "the throttling quota has been exceeded"},
	90:  {"PRODUCER_FENCED", false, Fenced, "there is a newer producer with the same transactionalId which fences the current one"},
	91:  {"RESOURCE_NOT_FOUND", false, 0, "a request illegally referred to a resource that does not exist"},
	92:  {"DUPLICATE_RESOURCE", false, 0, "a request illegally referred to the same resource twice"},
	93:  {"UNACCEPTABLE_CREDENTIAL", false, 0, "requested credential would not meet criteria for acceptability"},
	94:  {"INCONSISTENT_VOTER_SET", false, 0, "indicates that either the sender or recipient of a voter-only request is not one of the expected voters"},
	95:  {"INVALID_UPDATE_VERSION", false, 0, "the given update version was invalid"},
	96:  {"FEATURE_UPDATE_FAILED", false, 0, "unable to update finalized features due to an unexpected server error"},
	97:  {"PRINCIPAL_DESERIALIZATION_FAILURE", false, 0, "request principal deserialization failed during forwarding. This indicates an internal error on the broker cluster security setup"},
	98:  {"SNAPSHOT_NOT_FOUND", false, 0, "requested snapshot was not found"},
	99:  {"POSITION_OUT_OF_RANGE", false, 0, "requested position is not greater than or equal to zero, and less than the size of the snapshot"},
	100: {"UNKNOWN_TOPIC_ID", true, OtherTopic, "this server does not host this topic ID"},
	101: {"DUPLICATE_BROKER_REGISTRATION", false, 0, "this broker ID is already in use"},
	102: {"BROKER_ID_NOT_REGISTERED", false, 0, "the given broker ID was not registered"},
	103: {"INCONSISTENT_TOPIC_ID", true, OtherTopic, "the log's topic ID did not match the topic ID in the request"},
	104: {"INCONSISTENT_CLUSTER_ID", false, 0, "the clusterId in the request does not match that found on the server"},
	105: {"TRANSACTIONAL_ID_NOT_FOUND", false, 0, "the transactionalId could not be found"},
	106: {"FETCH_SESSION_TOPIC_ID_ERROR", true, 0, "the fetch session encountered inconsistent topic ID usage"},
	107: {"INELIGIBLE_REPLICA", false, 0, "the new ISR contains at least one ineligible replica"},
	108: {"NEW_LEADER_ELECTED", false, 0, "the AlterPartition request successfully updated the partition state but the leader has changed"},
	109: {"OFFSET_MOVED_TO_TIERED_STORAGE", false, 0, "the requested offset is moved to tiered storage"},
	110: {"FENCED_MEMBER_EPOCH", false, 0, "the member epoch is fenced by the group coordinator. The member must abandon all its partitions and rejoin"},
	111: {"UNRELEASED_INSTANCE_ID", false, 0, "the instance ID is still used by another member in the consumer group. That member must leave first"},
	112: {"UNSUPPORTED_ASSIGNOR", false, 0, "the assignor or its version range is not supported by the consumer group"},
	113: {"STALE_MEMBER_EPOCH", false, 0, "the member epoch is stale. The member must retry after receiving its updated member epoch via the ConsumerGroupHeartbeat API"},
	114: {"MISMATCHED_ENDPOINT_TYPE", false, 0, "the request was sent to an endpoint of the wrong type"},
	115: {"UNSUPPORTED_ENDPOINT_TYPE", false, 0, "this endpoint type is not supported yet"},
	116: {"UNKNOWN_CONTROLLER_ID", false, 0, "this controller ID is not known"},
	117: {"UNKNOWN_SUBSCRIPTION_ID", false, 0, "client sent a push telemetry request with an invalid or outdated subscription ID"},
	118: {"TELEMETRY_TOO_LARGE", false, 0, "client sent a push telemetry request larger than the maximum size the broker will accept"},
	119: {"INVALID_REGISTRATION", false, 0, "the controller has considered the broker registration to be invalid"},
	120: {"TRANSACTION_ABORTABLE", false, 0, "the server encountered an error with the transaction. The client can abort the transaction to continue using this transactional ID"},
	121: {"INVALID_RECORD_STATE", false, 0, "the record state is invalid. The acknowledgement of delivery could not be completed"},
	122: {"SHARE_SESSION_NOT_FOUND", false, 0, "the share session was not found"},
	123: {"INVALID_SHARE_SESSION_EPOCH", false, 0, "the share session epoch is invalid"},
	124: {"FENCED_STATE_EPOCH", false, 0, "the coordinator rejected the request because the state epoch did not match"},
	125: {"INVALID_VOTER_KEY", false, 0, "the voter key doesn't match the receiving replica's key"},
	126: {"DUPLICATE_VOTER", false, 0, "the voter is already part of the set of voters"},
	127: {"VOTER_NOT_FOUND", false, 0, "the voter is not part of the set of voters"},
	128: {"INVALID_REGULAR_EXPRESSION", false, 0, "the regular expression is not valid"},
	129: {"REBOOTSTRAP_REQUIRED", false, 0, "client metadata is stale. The client should rebootstrap to obtain new metadata"},
	130: {"STREAMS_INVALID_TOPOLOGY", false, 0, "the supplied topology is invalid"},
	131: {"STREAMS_INVALID_TOPOLOGY_EPOCH", false, 0, "the supplied topology epoch is invalid"},
	132: {"STREAMS_TOPOLOGY_FENCED", false, 0, "the supplied topology epoch is outdated"},
	133: {"SHARE_SESSION_LIMIT_REACHED", true, 0, "the limit of share sessions has been reached"},
	134: {"GROUP_DELETION_FAILED", false, 0, "deleteGroups could not complete; see the error message on the per-group result for details"},
	135: {"STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED", false, 0, "the broker could not process the topology description update; see the error message for details"},
	136: {"CONTROLLER_ID_NOT_REGISTERED", false, 0, "the given controller ID was not registered"},
}
