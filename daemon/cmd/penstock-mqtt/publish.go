// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// publish has a message sent, now or when there is a broker.
func (b *broker) publish(p *paho.Publish) error {
	packet, err := encodePacket(p)
	if err == nil {
		b.spool.add(packet)
	}
	return err
}

// publishNow has a message sent before all others, as long as this connection lasts.
func (b *broker) publishNow(p *paho.Publish) error {
	packet, err := encodePacket(p)
	if err == nil && !b.spool.addQuick(packet) {
		err = errFull
	}
	return err
}

// forget ends a subscription that an earlier configuration has left at the broker. It does
// not wait. One is ended at a time, and the next message asks again: a broker that sends
// what it likes and answers nothing must not have work pile up here.
func (b *broker) forget(topics ...string) {
	if !b.forgetting.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer b.forgetting.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), packetTime)
		defer cancel()
		_, _ = b.manager.Unsubscribe(ctx, &paho.Unsubscribe{Topics: topics})
	}()
}

// deny says that this board is there, after somebody has said that it is not. It does not
// wait. One that waits for another to be done stands for all that are asked for meanwhile.
func (b *broker) deny() {
	select {
	case b.denials <- struct{}{}:
	default:
		return
	}
	go func() {
		b.denying.Lock()
		defer b.denying.Unlock()
		<-b.denials
		b.announce(online)
	}()
}

func encodePacket(p *paho.Publish) ([]byte, error) {
	var buf bytes.Buffer
	if _, err := p.Packet().WriteTo(&buf); err != nil {
		return nil, err
	}
	if buf.Len() > longestPacket {
		return nil, errTooLong
	}
	return buf.Bytes(), nil
}

// Reasons for which a message is not published.
var (
	errTooLong = errors.New("the message is too long")
	errFull    = errors.New("too many wait for the broker")
)

// fit returns a packet as the broker takes it, or nil if it is too long for it. For a
// packet that a broker does not take it ends the connection, again and again.
func (b *broker) fit(packet []byte) []byte {
	l := b.limits.Load()
	if l.qos < 2 || !l.retain {
		p, err := packets.ReadPacket(bytes.NewReader(packet))
		if err != nil {
			return packet // it is quarantined
		}
		if publish, ok := p.Content.(*packets.Publish); ok {
			publish.QoS, publish.Retain = min(publish.QoS, l.qos), publish.Retain && l.retain
			var buf bytes.Buffer
			if _, err := publish.WriteTo(&buf); err != nil {
				return nil
			}
			packet = buf.Bytes()
		}
	}
	if l.packet > 0 && uint64(len(packet)) > uint64(l.packet) {
		return nil
	}
	return packet
}
