/**
 * Every numbered statement of MQTT 3.1.1, as listed in its appendix B. Two numbers are misprinted there, `3.1.2.7` and
 * `3-8.3-4`; they stand here like all others.
 *
 * Source: MQTT Version 3.1.1, OASIS Standard, 29 October 2014.
 */
import { both, client, server, type Statement } from "./mqtt_statement.ts";

const ONE_WAY = "This server opens no MQTT connections of its own.";

/** The statements of MQTT 3.1.1, in the order of their sections. */
export const STATEMENTS_311: readonly Statement[] = [
  // Strings and the fixed header
  both(
    "1.5.3-1",
    "Strings are well-formed UTF-8 without surrogates; a packet with another one ends its connection.",
  ),
  both("1.5.3-2", "No string holds U+0000; a packet with one ends its connection."),
  both("1.5.3-3", "U+FEFF is a character like any other and stays where it stands."),
  both("2.2.2-1", "Reserved flags of the fixed header have their prescribed values."),
  both("2.2.2-2", "A packet with other flags ends its connection."),

  // Packet identifiers
  both("2.3.1-1", "SUBSCRIBE, UNSUBSCRIBE and PUBLISH above QoS 0 carry an identifier other than 0."),
  client("2.3.1-2", "A new packet of a client gets an identifier that is not in use."),
  client("2.3.1-3", "What a client sends again keeps its identifier, which its acknowledgement sets free."),
  server("2.3.1-4", "A server treats the identifiers of its own PUBLISH packets in the same way."),
  both("2.3.1-5", "A PUBLISH of QoS 0 has no identifier."),
  both("2.3.1-6", "PUBACK, PUBREC and PUBREL carry the identifier of their PUBLISH."),
  server("2.3.1-7", "SUBACK and UNSUBACK carry the identifier of the packet they answer."),

  // CONNECT: header and flags
  both("3.1.0-1", "The first packet from a client is a CONNECT."),
  server("3.1.0-2", "A second CONNECT is a violation and ends the connection."),
  server("3.1.2-1", "A CONNECT of another protocol is never taken for one of MQTT."),
  server("3.1.2-2", "A protocol level that is not served gets return code 1, and the connection ends."),
  server("3.1.2-3", "The reserved CONNECT flag is checked; where it is set the connection ends."),
  both("3.1.2-4", "Without Clean Session the session goes on, or begins, and is kept after the connection."),
  server("3.1.2-5", "For such a session, messages of QoS 1 and 2 are kept while its client is away."),
  both(
    "3.1.2-6",
    "With Clean Session a new session begins that ends with its connection; none of it is used again.",
  ),
  server("3.1.2-7", "Retained messages belong to no session and outlive all of them."),
  server(
    "3.1.2-8",
    "A will is kept from CONNECT on and sent when the connection ends, except after a DISCONNECT.",
  ),
  both(
    "3.1.2-9",
    "With the will flag, the will's QoS and retain flag are used, and its topic and message are there.",
  ),
  server("3.1.2-10", "A will is forgotten once it was sent, or once a DISCONNECT came."),
  both(
    "3.1.2-11",
    "Without the will flag its QoS and retain flag are 0, and neither topic nor message is there.",
  ),
  server("3.1.2-12", "Without the will flag nothing is sent when the connection ends."),
  both("3.1.2-13", "Without the will flag the will QoS is 0."),
  both("3.1.2-14", "The will QoS is 0, 1 or 2, never 3."),
  both("3.1.2-15", "Without the will flag the will retain flag is 0."),
  server("3.1.2-16", "A will without the retain flag is sent as an ordinary message."),
  server("3.1.2-17", "A will with the retain flag is sent as a retained message."),
  both("3.1.2-18", "Without the user name flag there is no user name."),
  both("3.1.2-19", "With the user name flag there is a user name."),
  both("3.1.2-20", "Without the password flag there is no password."),
  both("3.1.2-21", "With the password flag there is a password."),
  both("3.1.2-22", "There is no password flag without the user name flag."),
  client(
    "3.1.2-23",
    "A client lets no keep-alive interval pass in silence; with nothing to say it sends PINGREQ.",
  ),
  server(
    "3.1.2-24",
    "After one and a half keep-alive intervals of silence the connection ends like a broken one.",
  ),

  // CONNECT: payload and answer
  both(
    "3.1.3-1",
    "The fields come in the order client identifier, will topic, will message, user name, password.",
  ),
  both("3.1.3-2", "Both ends know a session by its client identifier."),
  both("3.1.3-3", "The client identifier is there, and first."),
  both("3.1.3-4", "The client identifier is a UTF-8 string."),
  server("3.1.3-5", "Identifiers of 1 to 23 letters and digits are let in."),
  server(
    "3.1.3-6",
    "A client that comes without an identifier gets one nobody else has, and goes on as if it were its own.",
  ),
  client("3.1.3-7", "A client without an identifier asks for Clean Session."),
  server("3.1.3-8", "An empty identifier without Clean Session gets return code 2, and the connection ends."),
  server("3.1.3-9", "An identifier that is refused gets return code 2, and the connection ends."),
  both("3.1.3-10", "The will topic is a UTF-8 string."),
  both("3.1.3-11", "The user name is a UTF-8 string."),
  server("3.1.4-1", "A CONNECT against the rules of its section ends the connection without a CONNACK."),
  server("3.1.4-2", "A client that connects again ends its older connection."),
  server("3.1.4-3", "Clean Session is carried out as described."),
  server("3.1.4-4", "A CONNECT that is let in gets a CONNACK with return code 0."),
  server("3.1.4-5", "Nothing behind a CONNECT that was refused is carried out."),

  // CONNACK
  server("3.2.0-1", "The first packet from a server is a CONNACK."),
  server("3.2.2-1", "With Clean Session the CONNACK says that there is no session."),
  server("3.2.2-2", "Without Clean Session the CONNACK says that there is a session where one is kept."),
  server("3.2.2-3", "Without Clean Session the CONNACK says that there is none where none is kept."),
  server("3.2.2-4", "A CONNACK that refuses says that there is no session."),
  server("3.2.2-5", "Behind a CONNACK that refuses the connection ends."),
  server("3.2.2-6", "Where no return code fits, the connection ends without a CONNACK."),

  // PUBLISH
  both("3.3.1-1", "DUP is set on a PUBLISH that is sent again."),
  both("3.3.1-2", "DUP is never set at QoS 0."),
  server("3.3.1-3", "DUP of a forwarded PUBLISH tells of our own sending alone, not of the publisher's."),
  both("3.3.1-4", "The QoS is never 3; a PUBLISH that says so ends its connection."),
  server("3.3.1-5", "A PUBLISH with RETAIN is kept with its QoS for subscribers to come."),
  server("3.3.1-6", "A new subscription gets the last retained message of every topic it matches."),
  server("3.3.1-7", "A retained message of QoS 0 takes the place of the one before."),
  server("3.3.1-8", "RETAIN is set on what a new subscription gets from the store."),
  server("3.3.1-9", "RETAIN is not set on what a standing subscription gets, whatever the publisher set."),
  server("3.3.1-10", "An empty PUBLISH with RETAIN is delivered like any other and clears its topic."),
  server("3.3.1-11", "An empty message is never kept as a retained one."),
  server("3.3.1-12", "A PUBLISH without RETAIN changes nothing about what is retained."),
  both("3.3.2-1", "The topic name is the first field of a PUBLISH and a UTF-8 string."),
  both("3.3.2-2", "The topic name of a PUBLISH holds no wildcard."),
  server("3.3.2-3", "What a client is sent is on a topic that its subscription matches."),
  both("3.3.4-1", "A PUBLISH is answered as its QoS asks for: not at all, with PUBACK, with PUBREC."),
  server("3.3.5-1", "Where subscriptions overlap, the highest QoS of those that match counts."),
  server("3.3.5-2", "A PUBLISH that is not allowed is acknowledged like any other, or ends the connection."),
  both("3.6.1-1", "A PUBREL has the flags 0010; with others it ends the connection."),

  // SUBSCRIBE and SUBACK
  both("3.8.1-1", "A SUBSCRIBE has the flags 0010; with others it ends the connection."),
  both("3.8.3-1", "The topic filters of a SUBSCRIBE are UTF-8 strings."),
  server("3.8.3-2", "A server without wildcards refuses filters that hold them.", "Wildcards are served."),
  both("3.8.3-3", "A SUBSCRIBE holds at least one topic filter."),
  server("3.8.3-4", "Reserved bits behind a filter, or a QoS of 3, end the connection."),
  server("3.8.4-1", "A SUBSCRIBE is answered by a SUBACK."),
  server("3.8.4-2", "The SUBACK has the identifier of its SUBSCRIBE."),
  server(
    "3.8.4-3",
    "Subscribing again replaces the subscription and brings its retained messages; no message is missed.",
  ),
  server("3.8.4-4", "Several filters are treated as if each had its own SUBSCRIBE, with one SUBACK for all."),
  server("3.8.4-5", "The SUBACK has one code per filter: the QoS that is granted, or failure."),
  server("3.8.4-6", "A message is delivered at the lower of its own QoS and the one that was granted."),
  server("3.9.3-1", "The codes of a SUBACK stand in the order of the filters."),
  server("3.9.3-2", "The codes of a SUBACK are 0, 1, 2 and 0x80, and no others."),

  // UNSUBSCRIBE, PINGREQ, DISCONNECT
  both("3.10.1-1", "An UNSUBSCRIBE has the flags 0010; with others it ends the connection."),
  both("3.10.3-1", "The topic filters of an UNSUBSCRIBE are UTF-8 strings, one behind the other."),
  both("3.10.3-2", "An UNSUBSCRIBE holds at least one topic filter."),
  server("3.10.4-1", "Only the very filter that was subscribed to, character by character, is given up."),
  server("3.10.4-2", "After that, no new message is sent because of it."),
  server("3.10.4-3", "A delivery of QoS 1 or 2 that has begun is brought to its end."),
  server("3.10.4-4", "An UNSUBSCRIBE is answered by an UNSUBACK with its identifier."),
  server("3.10.4-5", "It is answered also where nothing was subscribed to."),
  server(
    "3.10.4-6",
    "Several filters are treated as if each had its own UNSUBSCRIBE, with one UNSUBACK for all.",
  ),
  server("3.12.4-1", "A PINGREQ is answered by a PINGRESP."),
  server("3.14.1-1", "A DISCONNECT with reserved flags set ends the connection as malformed."),
  client("3.14.4-1", "A client closes its connection behind a DISCONNECT."),
  client("3.14.4-2", "A client sends nothing behind a DISCONNECT."),
  server("3.14.4-3", "A DISCONNECT discards the will unsent."),

  // State, QoS and redelivery
  both("4.1.0-1", "The state of a session is kept for as long as the session lasts."),
  both("4.1.0-2", "A session lasts at least as long as its connection."),
  both("4.3.1-1", "A message of QoS 0 is sent with QoS 0 and without DUP."),
  both(
    "4.3.2-1",
    "A message of QoS 1 goes out with a free identifier and without DUP, and is open until its PUBACK.",
  ),
  both(
    "4.3.2-2",
    "QoS 1 is answered by a PUBACK of its identifier; after it, that identifier means a new message.",
  ),
  both(
    "4.3.3-1",
    "A message of QoS 2 goes out once, is open until its PUBREC, and its PUBREL until its PUBCOMP.",
  ),
  both(
    "4.3.3-2",
    "QoS 2 gets a PUBREC each time until its PUBREL, which gets a PUBCOMP; it is delivered once.",
  ),
  both(
    "4.4.0-1",
    "A client that returns to its session gets every open PUBLISH and PUBREL again, identifiers kept.",
  ),
  server(
    "4.5.0-1",
    "A message that was taken over goes into the session of every client that subscribed to it.",
  ),
  client("4.5.0-2", "A client acknowledges what it receives, whatever it does with it."),

  // Order
  client("4.6.0-1", "What a client sends again is sent in the order of the first sending."),
  client("4.6.0-2", "PUBACK packets are sent in the order in which the messages came."),
  client("4.6.0-3", "PUBREC packets are sent in the order in which the messages came."),
  client("4.6.0-4", "PUBREL packets are sent in the order in which the PUBREC packets came."),
  server("4.6.0-5", "Every topic is an ordered one unless it is set otherwise."),
  server(
    "4.6.0-6",
    "A server keeps to the same rules, and delivers a client's messages of a topic and QoS in their order.",
  ),

  // Topics and errors
  both("4.7.1-1", "Wildcards stand in topic filters, never in topic names."),
  both("4.7.1-2", "`#` stands alone or behind a slash, and last."),
  both("4.7.1-3", "`+` fills a whole level."),
  server("4.7.2-1", "A filter that begins with a wildcard does not match a topic that begins with `$`."),
  both("4.7.3-1", "Topic names and filters have at least one character."),
  both("4.7.3-2", "Topic names and filters hold no U+0000."),
  both("4.7.3-3", "Topic names and filters have at most 65,535 bytes."),
  server("4.7.3-4", "Matching compares topics as they are: nothing is normalized or replaced."),
  both("4.8.0-1", "A violation of the protocol ends the connection on which it came."),
  both("4.8.0-2", "A passing failure while a packet is processed ends the connection on which it came."),

  // WebSocket and conformance
  both("6.0.0-1", "Packets travel in binary frames; a frame of another kind ends the connection."),
  both(
    "6.0.0-2",
    "A frame may hold several packets or a part of one; nothing is concluded from its borders.",
  ),
  client("6.0.0-3", "A client offers the sub-protocol `mqtt`."),
  server("6.0.0-4", "A server answers with the sub-protocol `mqtt`."),
  server("7.0.0-1", "A server that connects to other servers is a conforming client too.", ONE_WAY),
  both("7.0.0-2", "No extension is needed to work together with another implementation."),
  server("7.1.1-1", "A server is reached over an ordered, lossless stream of bytes both ways."),
  client("7.1.2-1", "A client is reached over an ordered, lossless stream of bytes both ways."),
];
