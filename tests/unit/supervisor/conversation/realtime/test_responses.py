"""The queue of responses: one at a time is requested, and what is to be said is said."""

from supervisor.conversation.realtime.conversation import Conversation
from supervisor.conversation.realtime.responses import MOST_QUEUED, MOST_REQUESTS
from tests.support.openai_events import created, done, error, event_of, sent, spoken


class TestResponses:
    """At most one response is asked for at a time."""

    def test_asks_at_once(self) -> None:
        """A response is requested at once when nobody speaks."""
        actions = Conversation().responses.add({"instructions": "Say hello."})
        create = event_of(actions, "response.create")
        assert create["response"]["instructions"] == "Say hello."

    def test_waits_for_the_active_response(self) -> None:
        """While a response is active, the next one is requested after its end."""
        conversation = Conversation()
        conversation.receive(created())
        assert conversation.responses.add() == []
        assert sent(conversation.receive(done())) == ["response.create"]

    def test_going_on_is_asked_once(self) -> None:
        """The model is asked to go on once, however often that is wanted."""
        conversation = Conversation()
        conversation.receive(created())
        conversation.responses.add()
        conversation.responses.add()
        assert sent(conversation.receive(done())) == ["response.create"]
        assert conversation.receive(created("resp_2", mark=conversation.responses.requested)) == []
        assert conversation.receive(done("resp_2")) == []

    def test_texts_are_said_in_order(self) -> None:
        """All texts that are to be said are said, in order."""
        conversation = Conversation()
        actions = conversation.responses.add({"instructions": "ONE"})
        for text in ("TWO", "THREE"):
            assert conversation.responses.add({"instructions": text}) == []
        assert spoken(conversation, actions) == ["ONE", "TWO", "THREE"]

    def test_only_so_many_texts_wait(self) -> None:
        """Of a thousand texts to say only the first few wait; a request to go on has its place all the same."""
        conversation = Conversation()
        conversation.receive(created())
        for number in range(1000):
            conversation.responses.add({"instructions": str(number)})
        assert conversation.responses.full
        conversation.responses.add()
        assert spoken(conversation, conversation.receive(done())) == [*map(str, range(MOST_QUEUED)), None]

    def test_an_interruption_drops_texts(self) -> None:
        """An interruption throws away what was to be said."""
        conversation = Conversation()
        create = event_of(conversation.responses.add({"instructions": "ONE"}), "response.create")
        conversation.responses.add({"instructions": "TWO"})
        conversation.interrupt()
        conversation.receive(created("resp_vad"))
        conversation.receive(error("conversation_already_has_active_response", create["event_id"]))
        assert conversation.receive(done("resp_vad")) == []
        assert not conversation.busy

    def test_lost_request_had_begun(self) -> None:
        """A request on its way as the socket was lost is not repeated if its response had begun."""
        conversation = Conversation()
        lost = event_of(conversation.responses.add({"instructions": "ONE"}), "response.create")
        again = event_of(conversation.attached(), "response.create")
        conversation.receive(error("conversation_already_has_active_response", again["event_id"]))
        assert conversation.receive(done("resp_1", mark=lost["event_id"])) == []

    def test_lost_request_another_had_begun(self) -> None:
        """A request on its way as the socket was lost is repeated if another response had begun."""
        conversation = Conversation()
        conversation.responses.add({"instructions": "ONE"})
        again = event_of(conversation.attached(), "response.create")
        conversation.receive(error("conversation_already_has_active_response", again["event_id"]))
        assert spoken(conversation, conversation.receive(done("resp_vad"))) == ["ONE"]

    def test_one_request_in_flight(self) -> None:
        """Nothing more is requested while a request is in flight."""
        conversation = Conversation()
        conversation.responses.add()
        assert conversation.responses.add() == []

    def test_voice_detection_was_faster(self) -> None:
        """A request that came after a response of voice detection is repeated when that one ends."""
        conversation = Conversation()
        create = event_of(conversation.responses.add({"instructions": "x"}), "response.create")
        conversation.receive(created("resp_vad"))
        assert conversation.receive(error("conversation_already_has_active_response", create["event_id"])) == []
        actions = conversation.receive(done("resp_vad"))
        assert event_of(actions, "response.create")["response"]["instructions"] == "x"

    def test_an_unseen_response_is_waited_for(self) -> None:
        """A response that is active by OpenAI's word alone is waited for."""
        conversation = Conversation()
        create = event_of(conversation.responses.add(), "response.create")
        conversation.receive(error("conversation_already_has_active_response", create["event_id"]))
        assert conversation.responses.add() == []
        assert sent(conversation.receive(done("resp_unseen"))) == ["response.create"]

    def test_a_refused_request_is_forgotten(self) -> None:
        """After a request that was refused, the next may be made."""
        conversation = Conversation()
        create = event_of(conversation.responses.add(), "response.create")
        conversation.receive(error("invalid_value", create["event_id"]))
        assert sent(conversation.responses.add()) == ["response.create"]


class TestNothingComesBack:
    """What is asked of OpenAI may be refused in an error that does not say so, or not at all."""

    def test_an_unanswered_request_is_repeated(self) -> None:
        """A request that gets no answer is repeated a few times, and then given up."""
        conversation = Conversation()
        asked = [event_of(conversation.responses.add({"instructions": "Hello."}), "response.create")]
        conversation.receive(error("server_error"))
        while actions := conversation.responses.retry():
            asked.append(event_of(actions, "response.create"))
            assert conversation.responses.requested == asked[-1]["event_id"]
            assert len(asked) < 10
        assert len(asked) == MOST_REQUESTS
        assert {create["response"]["instructions"] for create in asked} == {"Hello."}
        assert not conversation.busy

    def test_not_repeated_after_another(self) -> None:
        """A request without an answer is not repeated when another response has begun since."""
        conversation = Conversation()
        conversation.responses.add()
        conversation.receive(created("resp_of_voice_detection"))
        conversation.receive(done("resp_of_voice_detection"))
        assert conversation.responses.retry() == []
        assert sent(conversation.responses.add()) == ["response.create"]

    def test_the_next_after_a_refusal(self) -> None:
        """When a request is refused, what waits behind it is requested."""
        conversation = Conversation()
        first = event_of(conversation.responses.add({"instructions": "A"}), "response.create")
        conversation.responses.add({"instructions": "B"})
        actions = conversation.receive(error("unknown_parameter", first["event_id"]))
        assert event_of(actions, "response.create")["response"]["instructions"] == "B"
