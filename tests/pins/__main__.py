from tests.pins import main

main()
