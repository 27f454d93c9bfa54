"""The queue of responses: one at a time is requested, and what is to be said is said."""

from supervisor.conversation.realtime.conversation import Conversation
from supervisor.conversation.realtime.responses import MOST_QUEUED, MOST_REQUESTS
from tests.support.openai_events import created, done, error, event_of, sent, spoken


class TestResponses:
    """At most one response is asked for at a time."""

    def test_asks_at_once_when_nobody_speaks(self) -> None:
        actions = Conversation().responses.add({"instructions": "Say hello."})
        create = event_of(actions, "response.create")
        assert create["response"]["instructions"] == "Say hello."

    def test_waits_for_the_active_response(self) -> None:
        conversation = Conversation()
        conversation.receive(created())
        assert conversation.responses.add() == []
        assert sent(conversation.receive(done())) == ["response.create"]

    def test_to_go_on_is_asked_once_however_often_it_is_wanted(self) -> None:
        conversation = Conversation()
        conversation.receive(created())
        conversation.responses.add()
        conversation.responses.add()
        assert sent(conversation.receive(done())) == ["response.create"]
        assert conversation.receive(created("resp_2", mark=conversation.responses.requested)) == []
        assert conversation.receive(done("resp_2")) == []

    def test_all_that_is_to_be_said_is_said_in_order(self) -> None:
        conversation = Conversation()
        actions = conversation.responses.add({"instructions": "ONE"})
        for text in ("TWO", "THREE"):
            assert conversation.responses.add({"instructions": text}) == []
        assert spoken(conversation, actions) == ["ONE", "TWO", "THREE"]

    def test_of_a_thousand_things_to_say_only_the_first_few_wait(self) -> None:
        conversation = Conversation()
        conversation.receive(created())
        for number in range(1000):
            conversation.responses.add({"instructions": str(number)})
        assert conversation.responses.full
        conversation.responses.add()
        assert spoken(conversation, conversation.receive(done())) == [*map(str, range(MOST_QUEUED)), None]

    def test_what_was_to_be_said_is_thrown_away_by_an_interruption(self) -> None:
        conversation = Conversation()
        create = event_of(conversation.responses.add({"instructions": "ONE"}), "response.create")
        conversation.responses.add({"instructions": "TWO"})
        conversation.interrupt()
        conversation.receive(created("resp_vad"))
        conversation.receive(error("conversation_already_has_active_response", create["event_id"]))
        assert conversation.receive(done("resp_vad")) == []
        assert not conversation.busy

    def test_what_was_asked_for_as_the_socket_was_lost_is_not_asked_for_again_when_it_had_begun(self) -> None:
        conversation = Conversation()
        lost = event_of(conversation.responses.add({"instructions": "ONE"}), "response.create")
        again = event_of(conversation.attached(), "response.create")
        conversation.receive(error("conversation_already_has_active_response", again["event_id"]))
        assert conversation.receive(done("resp_1", mark=lost["event_id"])) == []

    def test_what_was_asked_for_as_the_socket_was_lost_is_asked_for_again_when_another_had_begun(self) -> None:
        conversation = Conversation()
        conversation.responses.add({"instructions": "ONE"})
        again = event_of(conversation.attached(), "response.create")
        conversation.receive(error("conversation_already_has_active_response", again["event_id"]))
        assert spoken(conversation, conversation.receive(done("resp_vad"))) == ["ONE"]

    def test_does_not_ask_again_while_a_request_is_in_flight(self) -> None:
        conversation = Conversation()
        conversation.responses.add()
        assert conversation.responses.add() == []

    def test_voice_activity_was_faster_so_it_asks_again_afterwards(self) -> None:
        conversation = Conversation()
        create = event_of(conversation.responses.add({"instructions": "x"}), "response.create")
        conversation.receive(created("resp_vad"))
        assert conversation.receive(error("conversation_already_has_active_response", create["event_id"])) == []
        actions = conversation.receive(done("resp_vad"))
        assert event_of(actions, "response.create")["response"]["instructions"] == "x"

    def test_an_active_response_that_was_never_seen_is_waited_for(self) -> None:
        conversation = Conversation()
        create = event_of(conversation.responses.add(), "response.create")
        conversation.receive(error("conversation_already_has_active_response", create["event_id"]))
        assert conversation.responses.add() == []
        assert sent(conversation.receive(done("resp_unseen"))) == ["response.create"]

    def test_a_refused_request_is_forgotten(self) -> None:
        conversation = Conversation()
        create = event_of(conversation.responses.add(), "response.create")
        conversation.receive(error("invalid_value", create["event_id"]))
        assert sent(conversation.responses.add()) == ["response.create"]


class TestNothingComesBack:
    """What is asked of OpenAI may be refused in an error that does not say so, or not at all."""

    def test_a_response_of_which_nothing_is_heard_is_asked_for_again_a_few_times(self) -> None:
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

    def test_it_is_not_asked_for_again_when_another_response_has_begun_since(self) -> None:
        conversation = Conversation()
        conversation.responses.add()
        conversation.receive(created("resp_of_voice_detection"))
        conversation.receive(done("resp_of_voice_detection"))
        assert conversation.responses.retry() == []
        assert sent(conversation.responses.add()) == ["response.create"]

    def test_what_waits_is_asked_for_when_what_was_asked_for_is_refused(self) -> None:
        conversation = Conversation()
        first = event_of(conversation.responses.add({"instructions": "A"}), "response.create")
        conversation.responses.add({"instructions": "B"})
        actions = conversation.receive(error("unknown_parameter", first["event_id"]))
        assert event_of(actions, "response.create")["response"]["instructions"] == "B"
